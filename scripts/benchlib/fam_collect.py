"""Giving back what nothing names any more."""

import itertools
import os

from lib.commands import Unusable, run

from . import host
from .rows import Goal, Sequence, Step

FAMILY = "Collection"
_numbers = itertools.count(1)


class Collector:
    """A store with the objects of a tree, on a disk of its own."""

    def __init__(self, world, sequence):
        self.world, self.tree, self.disk = world, world.tree(sequence.tree), None

    def up(self):
        self.disk = host.Disk(self.world.work, f"collect{next(_numbers)}", 6, inodes=1 << 20)
        self.store = f"{self.disk.path}/s"
        self.fill()
        run("sync", "-f", self.disk.path)

    def down(self):
        if self.disk:
            self.disk.gone()

    def objects(self):
        """Objects that lie in the store as files of their own."""
        return sum(len(names) for top, _, names in os.walk(self.store) if "/objects/" in f"{top}/")


class Ours(Collector):
    def ours(self, *arguments):
        return [self.world.program, "--store", self.store, *arguments]

    def fill(self):
        run(*self.ours("init"))
        run(*self.ours("import", self.tree.source, "it"))

    def forget(self):
        run(*self.ours("rm", "ref", "it"))

    def collect(self):
        return self.ours("gc", "--grace", "0s", "--allow-no-roots")

    def mark(self):
        return self.ours("gc", "--dry-run")


class Git(Collector):
    def git(self, *arguments):
        return ["git", "-C", self.store, "-c", "gc.auto=0", "-c", "core.looseCompression=0", "-c", "user.name=b", "-c", "user.email=b@example.org", *arguments]

    def fill(self):
        run("git", "init", "-q", self.store)
        work = [f"--work-tree={self.tree.source}"]
        run(*self.git(*work, "add", "-A"))
        run(*self.git(*work, "commit", "-q", "-m", "all"))

    def forget(self):
        run(*self.git("update-ref", "-d", "HEAD"))
        run("rm", "-rf", f"{self.store}/.git/logs", f"{self.store}/.git/index")

    def collect(self):
        return self.git("prune", "--expire=now")

    def mark(self):
        return self.git("prune", "--dry-run", "--expire=now")


class Remove(Ours):
    """The same objects, removed by name."""

    def forget(self):
        pass

    def collect(self):
        return ["rm", "-rf", f"{self.store}/objects"]


def collect(site):
    """Seconds for 100,000 objects."""
    site.forget()
    run("sync", "-f", site.disk.path)
    before = site.objects()
    sample, _ = host.timed([site.collect()])
    removed = before - site.objects()
    if removed < before * 0.99 or removed < 10_000:
        raise Unusable(f"only {removed} of {before} objects are gone")
    sample.figure = sample.wall * 100_000 / removed
    return sample


def mark(site):
    """Seconds for 1,000,000 objects that are all in use."""
    count = site.objects()
    sample, _ = host.timed([site.mark()])
    if site.objects() != count:
        raise Unusable("objects are gone that were in use")
    sample.figure = sample.wall * 1_000_000 / count
    return sample


SEQUENCES = (
    Sequence(
        "collect", FAMILY, {"cairnfs": Ours, "rm -rf": Remove, "git prune": Git}, tree="unique",
        steps=(Step("collect", "collection, for 100,000 objects removed", collect, (Goal("rm -rf", 1.3),), quick=False),),
    ),
    Sequence(
        "mark", FAMILY, {"cairnfs": Ours, "git prune": Git}, tree="unique",
        steps=(Step("mark", "mark, for 1,000,000 objects in use", mark, (Goal("git prune", 1.0),), quick=False),),
    ),
)
