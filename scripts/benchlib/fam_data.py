"""The content of one file of 1 GiB: read and written, warm and cold."""

import os

from lib.commands import Unusable

from . import host
from .rows import Goal, Sequence, Step
from .sites import EVERY, LAYERED
from .world import BIG, BIG_MIB

FAMILY = "Content of a large file"
RANDOM = 50_000
WHOLE = BIG_MIB << 20


def big(site):
    return f"{site.root}/{BIG}"


def read(kind, cold, *arguments):
    """A way of the client to read the large file; warm is after a read unmeasured."""

    def act(site):
        if cold:
            host.drop_caches()
        else:
            site.client("seqread", big(site))
        return site.client(kind, big(site), *arguments)

    return act


def written(site):
    """The file that the layer holds."""
    return f"{site.work}/new"


def write(site, kind="seqwrite", amount=None):
    """Writes the file as a whole, unless told otherwise; what was written before is on disk then."""
    host.run("sync", "-f", site.tree.disk.path)
    sample = site.client(kind, written(site), amount or (BIG_MIB // 4 if site.world.quick else BIG_MIB))
    sample.proof = (sample.proof, os.path.getsize(written(site)))
    return sample


def random_writes(site):
    return write(site, "randwrite", RANDOM)


def synced(site):
    return site.client("syncwrite", f"{site.work}/synced", 200)


def change(kind):
    """One small change to a file of the base; it has to arrive, and to leave the base as it was."""

    def act(site):
        path = big(site)
        sample = site.client(kind, path)
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            file.seek(-1 if kind == "append" else size // 2 // 4096 * 4096, 2 if kind == "append" else 0)
            found = file.read(1)
        if found != (b"x" if kind == "append" else b"c") or os.path.getsize(f"{site.tree.source}/{BIG}") != WHOLE:
            raise Unusable(f"the change isn't there: {found}, {size} bytes")
        sample.proof = size
        return sample

    return act


READS = []
for _name, _kind, _arguments, _most in (
    ("sequential", "seqread", (), 1.05), ("random 4K", "randread", (RANDOM,), 1.05), ("mmap", "mmapread", (), 1.0)
):
    for _cold in (False, True):
        READS.append(
            Step(f"read.{_name.split()[0]}.{'cold' if _cold else 'warm'}", f"1 GiB {_name} read, {'cold' if _cold else 'warm'}", read(_kind, _cold, *_arguments),
                 (Goal("overlayfs", _most),), quick=not _cold, apart=True)
        )

SEQUENCES = (
    Sequence("read", FAMILY, EVERY, tree="big", mode="ro", steps=tuple(READS)),
    Sequence(
        "write", FAMILY, EVERY, tree="big", mode="layer",
        steps=(
            Step("write.new", "1 GiB (256 MiB if quick) written to a new file", write, (Goal("overlayfs", 1.1),)),
            Step("write.over", "the same overwritten", write, (Goal("overlayfs", 1.1),)),
            Step("write.random", f"{RANDOM:,} random 4K writes to it", random_writes, (Goal("overlayfs", 1.25),)),
            Step("write.fsync", "200 appends of 4K, each with fsync", synced, (Goal("overlayfs", 1.1),)),
        ),
    ),
    Sequence("append", "Small changes to large things", LAYERED, tree="big", mode="layer",
             steps=(Step("append", "append one byte to a clean file of 1 GiB", change("append"), (Goal("overlayfs", 0.05),)),)),
    Sequence("page", "Small changes to large things", LAYERED, tree="big", mode="layer",
             steps=(Step("page", "overwrite one page of a clean file of 1 GiB", change("page"), (Goal("overlayfs", 0.05),), quick=False),)),
)
