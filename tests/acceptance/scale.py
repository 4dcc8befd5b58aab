"""Mounting costs the same whatever the size of the manifest: time and memory, 1,000 files against many."""

import os
import statistics
import subprocess
import time

from harness import drop_caches, require, shell, timed

ROUNDS = 15


def run(context):
    report = context.report
    large = 20_000 if context.quick else 1_000_000
    report.section("Scale", "Mount time is that of the command, process start included, until the mount answers; memory is the daemon's "
                   f"after it. Medians of {ROUNDS} rounds, the manifests in turn.")
    cairn = context.fresh_store("scale")
    counts = {"small": 1_000, "large": large}
    for ref, count in counts.items():
        report.check(f"import {count:,} files from a pipe", import_generated, cairn, ref, count)
    measured = report.check("mount each in turn", measure, context, cairn, counts)
    if measured:
        show(report, measured, counts)
        report.check("the same within noise", within_noise, measured)
    report.check(f"find through the mount of {large:,} files", find_all, context, cairn, large)
    shell("rm", "-rf", cairn.store)


def import_generated(cairn, ref, count):
    """Streams an archive into `import -`, so that nothing but the store is written."""
    with subprocess.Popen(cairn.command("import", "-", ref), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            write_archive(process.stdin, count)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended early, and says why
        said, wrong = process.stdout.read(), process.stderr.read()
    require(process.returncode == 0, wrong.decode(errors="replace"))
    return said.decode(errors="replace").strip().splitlines()[-1]


def write_archive(out, count):
    """`count` files of 16 to 100 bytes in directories of three levels, each content occurring twice."""
    block = bytearray()
    for i in range(count):
        content = (b"%d is the content of two files " % (i // 2)) * 3
        content = content[: 16 + i // 2 % 85]
        block += header(b"%d/%02d/%04d" % (i % 10, i // 10 % 100, i // 1000), len(content))
        block += content.ljust(512, b"\0")
        if len(block) > 1 << 20:
            out.write(block)
            block.clear()
    out.write(block + bytes(1024))


def header(name, size):
    fields = b"%s0000644\0000000000\0000000000\000%011o\00014000000000\000        0" % (name.ljust(100, b"\0"), size)
    head = bytearray((fields.ljust(257, b"\0") + b"ustar\00000").ljust(512, b"\0"))
    head[148:156] = b"%06o\0 " % sum(head)
    return head


def measure(context, cairn, counts):
    """{(ref, kind): [(seconds, resident bytes)]}"""
    found = {}
    mnt = context.path("mnt")
    os.makedirs(mnt, exist_ok=True)
    for number in range(ROUNDS):
        for kind in "read-only", "layer":
            for ref in sorted(counts, reverse=number % 2 == 1):
                options = ("--layer", f"scale-{ref}") if kind == "layer" else ()
                took, _ = timed(lambda: cairn.run("mount", ref, mnt, *options))
                try:
                    os.lstat(mnt)
                    found.setdefault((ref, kind), []).append((took, resident(cairn.pid_of(mnt))))
                finally:
                    cairn.run("umount", mnt)
    return found


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


def medians(rounds):
    return statistics.median(t for t, _ in rounds) * 1e3, statistics.median(m for _, m in rounds) / 1e6


def show(report, measured, counts):
    rows = []
    for (ref, kind), rounds in sorted(measured.items(), key=lambda item: (item[0][1], counts[item[0][0]])):
        times = sorted(t * 1e3 for t, _ in rounds)
        ms, mb = medians(rounds)
        rows.append((f"{counts[ref]:,}", kind, f"{ms:.1f}", f"{times[0]:.1f} to {times[-1]:.1f}", f"{mb:.1f}"))
    report.table(("files", "mount", "median ms", "range ms", "resident MB"), rows)


def within_noise(measured):
    for kind in "read-only", "layer":
        (small_ms, small_mb), (large_ms, large_mb) = (medians(measured[ref, kind]) for ref in ("small", "large"))
        require(large_ms < small_ms * 1.25 + 2, f"{kind}: {large_ms:.1f} ms against {small_ms:.1f} ms")
        require(large_mb < small_mb * 1.1 + 1, f"{kind}: {large_mb:.1f} MB against {small_mb:.1f} MB")


def find_all(context, cairn, count):
    drop_caches()
    with cairn.mounted("large", context.path("mnt")) as mnt:
        began = time.monotonic()
        found = sum(1 for line in shell("find", mnt, "-type", "f", "-printf", "%s\n").stdout.splitlines())
        first = time.monotonic() - began
        again, _ = timed(lambda: shell("find", mnt, "-type", "f", "-printf", "%s\n"))
        require(found == count, f"{found} files found")
        memory = resident(cairn.pid_of(mnt))
    return f"first, caches cold, {first:.2f} s; again {again:.2f} s; then {memory / 1e6:.1f} MB resident"
