"""Rounds: the contestants take turns, each round beginning with the next of them, so that no drift of the machine favours one."""

import os
import subprocess
import time

from lib.commands import Unusable, say

from .results import Results

QUICK = 10  # seconds after which a sequence of a quick run begins no further round


class Differs(Unusable):
    """Two contestants did different work: their times can't be compared."""


def run_all(world, sequences, patterns, rounds):
    """Runs what is selected; returns the Results."""
    chosen = [found for sequence in sequences if (found := sequence.selected(patterns, world.quick))]
    results = Results()
    for position, (sequence, wanted) in enumerate(chosen):
        results.declare(sequence, wanted)
        run_sequence(world, sequence, wanted, rounds or (sequence.quick_rounds if world.quick else 5), results)
        world.forget({later.tree for later, _ in chosen[position + 1 :]})
    return results


def run_sequence(world, sequence, wanted, rounds, results):
    say(f"{sequence.name}: {', '.join(sorted(wanted))}")
    names = list(sequence.sites)
    proofs, began = {}, time.monotonic()
    # Once unmeasured: what all share is then in the caches, as it is for the second contestant of any round.
    for turn in range(-1, rounds):
        if world.quick and turn > 0 and time.monotonic() - began > QUICK:
            break
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            if results.lost(sequence, name):
                continue
            try:
                one_turn(world, sequence, name, turn >= 0, proofs, results)
            except (Unusable, OSError, subprocess.SubprocessError) as why:
                results.lose(sequence, name, str(why))
                say(f"    {name}: {why}")
    for step in sequence.steps:
        if step.id in wanted:
            say(f"    {results.line(step.id)}")


def one_turn(world, sequence, name, counts, proofs, results):
    site = sequence.sites[name](world, sequence)
    try:
        site.up()
        if sequence.prepare:
            sequence.prepare(site)
        os.sync()
        for step in sequence.steps:
            sample = step.act(site)
            first = proofs.setdefault(step.id, (name, sample.proof))
            if first[1] != sample.proof:
                raise Differs(f"`{step.id}` did {sample.proof}, but on {first[0]} {first[1]}")
            if counts:
                results.add(step.id, name, sample)
    finally:
        site.down()
