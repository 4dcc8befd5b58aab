"""Import against the time of merely hashing the same files with two threads."""

import os
import statistics
import subprocess
import time

from harness import ROOT, require, shell

ROUNDS = 5


def run(context, source):
    report = context.report
    report.section("Import speed", f"The source is in the page cache; `hash` reads and hashes every file with two threads and writes nothing. "
                   f"Medians of {ROUNDS} rounds in turn, each import into an empty store, on the filesystem of the source; the import's time has its "
                   "barrier (one sync of the filesystem) in it.")
    hasher = report.check("build the hasher", build)
    if not hasher:
        return
    measured = report.check("hash, import, import again, in turn", measure, context, source, hasher)
    if measured:
        show(report, measured)


def build():
    shell("cargo", "build", "--release", "--locked", "--example", "hash_only", cwd=ROOT)
    return os.path.join(ROOT, "target", "release", "examples", "hash_only")


def measure(context, source, hasher):
    found = {}
    for _ in range(ROUNDS):
        cairn = context.fresh_store("speed")
        os.sync()
        for name, command in (("hash", [hasher, source, "2"]), ("import", cairn.command("import", source, "first")),
                              ("import again", cairn.command("import", source, "second"))):
            found.setdefault(name, []).append(once(command))
    shell("rm", "-rf", cairn.store)
    return found


def once(command):
    """(seconds, peak resident bytes) of a process."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    require(process.returncode == 0, f"status {process.returncode}: {' '.join(command)}")
    return took, usage.ru_maxrss * 1024


def show(report, measured):
    floor = statistics.median(t for t, _ in measured["hash"])
    rows = []
    for name, rounds in measured.items():
        times = sorted(t for t, _ in rounds)
        middle = statistics.median(times)
        rows.append((name, f"{middle:.2f}", f"{times[0]:.2f} to {times[-1]:.2f}", f"{middle / floor:.1f}", f"{max(m for _, m in rounds) / 1e6:.0f}"))
    report.table(("", "median s", "range s", "times hash", "peak MB"), rows)
