"""That the bench itself can tell: a goal met from one missed, work from no work, and a contestant that is lost. scripts/test runs it; nothing is timed.

    python3 -B scripts/benchlib/check.py
"""

import os
import sys
import types
import xml.dom.minidom

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchlib import host, page, plot, runner  # noqa: E402
from benchlib.host import Sample  # noqa: E402
from benchlib.rows import AsAlone, Goal, Limit, Sequence, Step  # noqa: E402
from lib.commands import Unusable  # noqa: E402


class Fake:
    """A contestant whose samples are known: `takes` seconds for `does`."""

    takes, does, ups = 1.0, "work", 0

    def __init__(self, world, sequence):
        self.clients = sequence.clients

    def up(self):
        type(self).ups += 1

    def down(self):
        type(self).ups -= 1


def fake(name, takes=1.0, does="work", fails=None):
    return type(name, (Fake,), {"takes": takes, "does": does, "fails": fails})


def act(site):
    if site.fails:
        raise Unusable(site.fails)
    return Sample(site.takes * site.clients, client_cpu=site.takes, proof=site.does)


def ran(goals, patterns=(), **sites):
    sequence = Sequence("s", "family", sites, (Step("row", "a row", act, goals),), twice=True)
    world = types.SimpleNamespace(quick=False, forget=lambda keep: None)
    return runner.run_all(world, [sequence, sequence.doubled()], patterns, 3)


def verdicts(results, row="row"):
    return [judged["met"] for judged in results.judged(row)]


def main():
    host.os.sync = lambda: None
    runner.say = lambda text: None
    ours, peer = fake("Ours", 2.0), fake("Peer")
    goals = (Goal("peer", 2.0), Goal("peer", 1.9), Goal("nobody", 9.0), Limit(3.0, "3 s"), Limit(1.0, "1 s"))
    results = ran(goals, cairnfs=ours, peer=peer)
    assert verdicts(results) == [True, False, None, True, False], verdicts(results)
    assert len(results.rows["row"]["samples"]["cairnfs"]) == 3, "the first round isn't to be counted"
    assert (ours.ups, peer.ups) == (0, 0), "a contestant wasn't taken away"
    assert verdicts(results, "row.2") == [True, None] and isinstance(results.rows["row.2"]["step"].goals[0], AsAlone)

    results = ran((Goal("peer", 1.0),), cairnfs=fake("Ours"), peer=fake("Lazy", 0.1, does="nothing"))
    assert verdicts(results) == [None], "work was compared with no work"
    results = ran((Goal("peer", 1.0),), cairnfs=fake("Ours"), peer=fake("Broken", fails="no such program"))
    assert verdicts(results) == [None]
    found = {"machine": {"kernel": "0", "cpus": 1, "memory_gib": 1}, "quick": False, "minutes": 0, "rows": results.document()}
    assert "can't run: no such program" in "\n".join(page.document(found))
    assert not ran((), patterns=["other"], cairnfs=fake("Ours")).rows

    found["rows"] = ran(goals, cairnfs=ours, peer=peer).document()
    text = "\n".join(page.document(found))
    assert "5 met" not in text and "**missed**" in text and "| met |" in text
    xml.dom.minidom.parseString(plot.draw(found))


main()
