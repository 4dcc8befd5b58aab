"""Arguments, the run, and where its results go."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from lib.commands import ROOT, program, say

from . import fam_clean, fam_collect, fam_data, fam_import, fam_mount, fam_program, fam_snapshot, fam_walk, fam_write, host, page
from .runner import run_all
from .world import World

FAMILIES = (fam_mount, fam_walk, fam_program, fam_data, fam_write, fam_clean, fam_snapshot, fam_import, fam_collect)
ABOUT = """Measures cairnfs beside what else does the same, in turn, on fresh filesystems, and says which goals are met.

    scripts/bench [--quick] [--rows PATTERN]... [--rounds N] [--json FILE] [--write] [--list]

  --rows PATTERN  only these rows, such as `find.*`; may be given again. `--list` names them
  --rounds N      instead of 5, or of at most 2 with --quick
  --quick         about five minutes on an idle machine: fewer rounds, files and contestants, and without the rows that take long
  --json FILE     all samples and what follows from them; `-` is standard output
  --write         write docs/BENCHMARKS.md and its picture
  --from FILE     show or write what --json has written before, and run nothing
CAIRNFS=PROGRAM measures that program instead of building one. Needs root and 20 GiB, 8 with --quick; TMPDIR says where. The status is 0 when every
row ran on cairnfs, whether or not the goals are met."""


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    for flag in ("--quick", "--list", "--write"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rows", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--json", help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="source", help=argparse.SUPPRESS)
    return parser.parse_args()


def sequences():
    out = []
    for family in FAMILIES:
        out += family.SEQUENCES
    return out + [sequence.doubled() for sequence in out if sequence.twice]


def measured(args):
    if os.geteuid() != 0:
        sys.exit("bench: needs root, to make and mount filesystems")
    subprocess.run([f"{ROOT}/scripts/setup", "bench"], check=True, stdout=sys.stderr)
    os.environ["PATH"] += f":{ROOT}/target/tools/bin:/usr/sbin:/sbin"
    os.environ["LC_ALL"] = "C.UTF-8"
    host.end_on_signals()
    began = time.monotonic()
    work = tempfile.mkdtemp(prefix="cairnfs-bench.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    host.at_end(shutil.rmtree, work, True)
    try:
        results = run_all(World(work, program(), args.quick), sequences(), args.rows, args.rounds)
    finally:
        host.clean_up()
    return {"machine": machine(), "quick": args.quick, "minutes": round((time.monotonic() - began) / 60, 1), "rows": results.document()}


def machine():
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / (1 << 20)
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "memory_gib": round(memory)}


def main():
    args = arguments()
    if args.list:
        for sequence in sequences():
            for step in sequence.steps:
                goals = "; ".join(goal.text() for goal in step.goals)
                print(f"{step.id:22} {step.title}{': ' + goals if goals else ''}")
        return
    if args.source:
        with open(args.source) as file:
            found = json.load(file)
    else:
        found = measured(args)
    if args.json:
        with open("/dev/stdout" if args.json == "-" else args.json, "w") as out:
            json.dump(found, out, indent=1)
            out.write("\n")
    if args.write:
        page.write(found)
    if not args.json:
        print("\n".join(page.goals(found["rows"])))
    broken = [f"{row}: {result['contestants']['cairnfs']['error']}" for row, result in found["rows"].items() if "error" in result["contestants"].get("cairnfs", {})]
    for failure in broken:
        say(f"can't run on cairnfs: {failure}")
    sys.exit(1 if broken else 0)
