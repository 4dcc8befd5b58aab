"""Keeping what changed in a writable tree."""

import os
import shutil

from lib.commands import Unusable, run

from . import host
from .rows import Goal, Sequence, Step
from .sites import Cairnfs, Overlayfs

FAMILY = "Snapshots"


class Ours(Cairnfs):
    def snapshot(self):
        return self.tree.cairnfs("snapshot", self.root, f"snap{self.number}")

    def check(self):
        """What is in the snapshot of a file that was changed."""
        return run(*self.tree.cairnfs("cat", f"snap{self.number}:{self.changed[0][2:]}"))[-7:]


class Ostree(Overlayfs):
    """overlayfs, and a commit of the base's ref with the upper directory on it."""

    name = "ostree"

    def prepare(self):
        if not shutil.which("ostree"):
            raise Unusable("the program ostree isn't here")
        super().prepare()
        self.repo = f"{self.tree.disk.path}/ostree"
        if not os.path.exists(self.repo):
            run("ostree", "init", "--repo", self.repo, "--mode=bare")
            skip = f"{self.repo}.skip"
            with open(skip, "w") as out:
                out.write("/dev\n")  # ostree doesn't take devices
            run(*self.commit("base", f"--skip-list={skip}", f"--tree=dir={self.tree.source}"))

    def commit(self, branch, *trees):
        return ["ostree", "commit", "--repo", self.repo, "-b", branch, "--fsync=false", *trees]

    def snapshot(self):
        return self.commit(f"snap{self.number}", "--tree=ref=base", f"--tree=dir={self.upper}")

    def check(self):
        return run("ostree", "cat", "--repo", self.repo, f"snap{self.number}", self.changed[0][1:])[-7:]


def change(count):
    def prepare(site):
        with open(site.world.list_of(site.tree, "small", 20_000), "rb") as file:
            names = [os.fsdecode(name) for name in file.read().split(b"\0")[:-1] if not name.startswith(b"./srv/")]
        site.changed = names[:count]
        for name in site.changed:
            with open(f"{site.root}/{name}", "ab") as file:
                file.write(b"changed")
        run("sync", "-f", site.tree.disk.path)

    return prepare


def snapshot(site):
    """The command and one sync, so that both are durable; ostree is told not to sync by itself."""
    sample, _ = site.time(lambda _: site.snapshot())
    synced = host.sync_filesystem(site.tree.disk.path)
    sample.wall += synced
    sample.beside["syncfs"] = synced
    sample.proof = site.check()
    if sample.proof != "changed":
        raise Unusable(f"the snapshot has {sample.proof!r}")
    return sample


def rows():
    for count, most in ((1, 1.0), (100, 0.15), (10_000, 0.35)):
        step = Step(f"snapshot.{count}", f"snapshot after {count:,} change{'s' if count > 1 else ''}", snapshot, (Goal("ostree", most),), quick=count != 100)
        yield Sequence(f"snapshot.{count}", FAMILY, {"cairnfs": Ours, "ostree": Ostree}, tree="debian", mode="layer", steps=(step,), prepare=change(count))


SEQUENCES = tuple(rows())
