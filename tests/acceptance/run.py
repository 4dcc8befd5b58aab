#!/usr/bin/env python3
"""The acceptance: cairnfs on a real root filesystem, judged by tools that aren't its own.

    run.py [--quick] [--program FILE] [--archive ROOTFS.TAR] [--report FILE] [--only PART]...

Ends with `N passed, N failed, N skipped`; status 1 when anything failed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import bad_input
import same_tree
import scale
import speed
import workloads
from harness import ROOT, Cairn, Context, Report, shell

PARTS = ("tree", "work", "bad", "scale", "speed")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small root filesystem and no network inside")
    parser.add_argument("--program", default=os.path.join(ROOT, "target/release/cairnfs"))
    parser.add_argument("--archive", help="tar of the root filesystem; without it only odd files are used")
    parser.add_argument("--report", help="write the report in markdown there")
    parser.add_argument("--only", action="append", choices=PARTS, help="only these parts")
    parser.add_argument("--check", action="store_true", help="only see that the arguments are right")
    return parser.parse_args()


def machine():
    release = next((line.split('"')[1] for line in open("/etc/os-release") if line.startswith("PRETTY_NAME")), "?")
    uname = os.uname()
    return f"{release}, Linux {uname.release} {uname.machine}, {os.cpu_count()} CPUs"


def clean_up(work):
    """Whatever is still mounted beneath the work folder goes, the innermost first."""
    with open("/proc/self/mounts") as mounts:
        left = [line.split()[1] for line in mounts if line.split()[1].startswith(work)]
    for mount in reversed(left):
        subprocess.run(["umount", "-l", mount], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(work, ignore_errors=True)


def parts(context, args):
    wanted = set(args.only or (PARTS[:4] if args.quick else PARTS))
    source = None
    if wanted & {"tree", "work", "speed"}:
        source = same_tree.run(context, args.archive)
    if "work" in wanted and args.archive:
        workloads.run(context)
    if "bad" in wanted:
        bad_input.run(context)
    if "scale" in wanted:
        scale.run(context)
    if "speed" in wanted:
        speed.run(context, source)


def main():
    args = arguments()
    if args.check:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    if os.geteuid() != 0:
        print("acceptance: needs root: files of all owners are made, mounted and entered", file=sys.stderr)
        print("0 passed, 0 failed, 1 skipped")
        return 0 if args.quick else 1
    work = tempfile.mkdtemp(prefix="cairnfs-acceptance.")
    try:
        context = Context(Cairn(os.path.abspath(args.program), os.path.join(work, "store")), report, work, args.quick)
        version = shell(context.cairn.program, "--version").stdout.strip()
        report.text.append(f"\n{version} on {machine()}")
        context.cairn.run("init")
        parts(context, args)
    finally:
        clean_up(work)
        if args.report:
            report.write(args.report, "Acceptance")
    print(f"\n{report.counts()}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
