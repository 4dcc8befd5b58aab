"""docs/BENCHMARKS.md, of what results.py writes as JSON."""

from lib.commands import ROOT

from .plot import digits, draw
from .results import shown

INTRO = """# Benchmarks

cairnfs beside what else does the same, measured by one script in one run. Again:

```console
# scripts/bench --write
```

Each contestant works on the same fresh ext4 on a loop device; the tree is a Debian root filesystem of 55,000 files and 1 GB unless the row says
otherwise. The contestants take turns, in an order that changes each round. Each figure is the median of all rounds, with minimum and maximum, after one
round that isn't measured. CPU seconds are the client's and, apart, those of the process that serves the mount; memory is the peak of that process,
or of the command where none serves. After each timed action it is checked that it did its work, and the same work on all contestants. Only ratios of one
run mean anything: the machine's speed is nobody's merit.

Commands that store something have one sync of the filesystem in their time; "of which sync" is what that took apart, for those that don't sync by themselves.
With two clients, both do the row's work at once in one mount, in directories of their own where they write; the ratio is then to be no worse
than with one."""


def write(found):
    with open(f"{ROOT}/docs/benchmarks.svg", "w") as out:
        out.write(draw(found))
    with open(f"{ROOT}/docs/BENCHMARKS.md", "w") as out:
        out.write("\n".join(document(found)) + "\n")


def document(found):
    machine, rows = found["machine"], found["rows"]
    quick = " It is a quick run, with fewer rounds and files." if found["quick"] else ""
    lines = [
        INTRO, "",
        f"This run: Linux {machine['kernel']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB; {found['minutes']:g} minutes.{quick}", "",
        "![Ratios to the reference, row by row](benchmarks.svg)", "", "## Goals", "", *goals(rows), "",
    ]
    for family in dict.fromkeys(row["family"] for row in rows.values()):
        lines += [f"## {family}", "", *detail(row for row in rows.items() if row[1]["family"] == family), ""]
    return lines[:-1]


def table(head, rows):
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def goals(rows):
    """One line for each goal: who does what in which time, the ratio, and the verdict."""
    out, counts = [], {True: 0, False: 0, None: 0}
    for row in rows.values():
        for judged in row["goals"]:
            counts[judged["met"]] += 1
            whom = judged.get("reference", "")
            out.append([
                row["title"], median(row, "cairnfs"), f"{whom} {median(row, whom)}" if whom in row["contestants"] and whom != "cairnfs" else "",
                "" if judged["figure"] is None or not whom else f"{digits(judged['figure'])}×", f"{digits(judged['cpu'])}×" if judged.get("cpu") else "", judged["goal"], verdict(judged),
            ])
    summary = f"{counts[True]} met, {counts[False]} missed" + (f", {counts[None]} that can't be told" if counts[None] else "") + "."
    return [summary, "", *table(["", "cairnfs", "reference", "ratio", "ratio of CPU seconds", "goal", ""], out)]


def verdict(judged):
    return {True: "met", False: "**missed**", None: "can't tell"}[judged["met"]]


def median(row, contestant):
    found = row["contestants"].get(contestant, {})
    return shown(found["median"], row["unit"]) if "median" in found else "can't run"


def detail(rows):
    """One line for each contestant of each row."""
    out = []
    for _, row in rows:
        title = row["title"]
        for name, found in row["contestants"].items():
            if "median" not in found:
                out.append([title, name, f"can't run: {found['error'][:120]}", "", "", "", ""])
            else:
                unit = row["unit"]
                beside = "".join(f" (of which sync {shown(value, 's')})" for value in found.get("beside", {}).values())
                out.append([
                    title, name, f"**{shown(found['median'], unit)}**{beside}", f"{shown(found['min'], unit)} to {shown(found['max'], unit)}",
                    f"{found['client_cpu']:.2f}", f"{found['server_cpu']:.2f}" if found["server_cpu"] else "", f"{found['rss'] / 1e6:.0f}" if found["rss"] else "",
                ])
            title = ""
    return table(["", "", "median", "range", "CPU s, client", "CPU s, server", "peak MB"], out)
