"""Bringing a tree into a store, by those who do it too.

What is imported is in the page cache, the store is on a fresh ext4. All figures have one sync of that filesystem in them, so that they are of
something durable; for those who don't sync by themselves it is made after the command, and its seconds are shown beside.
"""

import itertools
import os
import shutil

from lib.commands import ROOT, Unusable, run

from . import host
from .host import Sample
from .rows import Goal, Limit, Sequence, Step

FAMILY = "Importing"
_numbers = itertools.count(1)


class Importer:
    """One program with a store of its own on a disk of its own: `command` imports the tree."""

    name = program = ""
    extra = ()  # arguments for this time
    read_all = ()  # what has every file read

    def __init__(self, world, sequence):
        self.world, self.tree = world, world.tree(sequence.tree)
        self.disk = None

    def up(self):
        if self.program and not shutil.which(self.program):
            raise Unusable(f"the program {self.program} isn't here")
        self.disk = host.Disk(self.world.work, f"import{next(_numbers)}", 16, inodes=4 << 20 if self.tree.name == "many" else None)
        self.store = f"{self.disk.path}/s"
        self.empty = self.disk.used()
        self.prepare()
        # The source is as warm for the first as for the last.
        run("sh", "-c", f"tar -C {self.tree.source} -cf - . | wc -c")

    def prepare(self):
        """Makes an empty store."""

    def check(self):
        """Fails unless the tree is in the store."""

    def down(self):
        if self.disk:
            self.disk.gone()

    def measure(self):
        sample, _ = host.timed([self.command()])
        synced = host.sync_filesystem(self.disk.path)
        sample.wall += synced
        sample.beside["syncfs"] = synced
        self.check()
        return sample


class Ours(Importer):
    name = "cairnfs"
    read_all = ("--rehash",)

    def ours(self, *arguments):
        return [self.world.program, "--store", self.store, *arguments]

    def prepare(self):
        run(*self.ours("init"))

    def command(self):
        return self.ours("import", *self.extra, self.tree.source, "it")

    def check(self):
        run(*self.ours("show", "it"))


class Cfsctl(Importer):
    name = program = "cfsctl"

    def prepare(self):
        os.makedirs(self.store)
        run("cfsctl", "--repo", self.store, "init", "--insecure", "--algorithm", "fsverity-sha256-12")

    def command(self):
        return ["cfsctl", "--repo", self.store, "create-image", "--no-propagate-usr-to-root", self.tree.source, "it"]

    def check(self):
        image = f"{self.store}/images/refs/it"
        if not os.path.isfile(image) or not os.path.getsize(image):
            raise Unusable(f"cfsctl has left no image at {image}")


class Ostree(Importer):
    name = program = "ostree"

    def prepare(self):
        run("ostree", "init", "--repo", self.store, "--mode=bare")
        self.skip = f"{self.disk.path}/skip"
        with open(self.skip, "w") as out:
            out.write("/dev\n")  # ostree doesn't take devices

    def command(self):
        return ["ostree", "commit", "--repo", self.store, "-b", "it", "--fsync=false", f"--skip-list={self.skip}", f"--tree=dir={self.tree.source}"]

    def check(self):
        run("ostree", "rev-parse", "--repo", self.store, "it")


class Restic(Importer):
    name = program = "restic"

    def prepare(self):
        os.environ["RESTIC_PASSWORD"] = "bench"
        run("restic", "-q", "-r", self.store, "init")

    read_all = ("--force",)

    def command(self):
        return ["restic", "-q", "-r", self.store, "--no-cache", "backup", *self.extra, self.tree.source]

    def check(self):
        if '"id"' not in run("restic", "-r", self.store, "--no-cache", "--json", "snapshots"):
            raise Unusable("restic has no snapshot")


class Hashing(Importer):
    """Reads and hashes with 2 threads, and writes nothing."""

    name = "hashing"

    def command(self):
        return [f"{ROOT}/target/release/examples/hash_only", self.tree.source, "2"]

    def prepare(self):
        run("cargo", "build", "--release", "--locked", "--example", "hash_only", cwd=ROOT, timeout=1800)


class Walk(Importer):
    """Looks at every name and its attributes, and reads nothing."""

    name = "stat walk"

    def command(self):
        return ["find", self.tree.source, "-printf", "%s %i %C@\\n"]


def imported(importer):
    return importer.measure()


def read_again(importer):
    """All files are read, also by those who remember which they have read before."""
    importer.extra = importer.read_all
    try:
        return importer.measure()
    finally:
        importer.extra = ()


def footprint(what):
    """A further row of the import that was just made."""

    def act(importer):
        if what == "rss":
            return Sample(0.0, figure=float(importer.last.rss))
        return Sample(0.0, figure=(importer.disk.used() - importer.empty) / importer.tree.content())

    return act


def first(importer):
    importer.last = importer.measure()
    return importer.last


def those(*kinds):
    return {kind.name: kind for kind in kinds}


SEQUENCES = (
    Sequence(
        "import", FAMILY, those(Ours, Cfsctl, Ostree, Restic, Hashing, Walk), tree="debian",
        steps=(
            Step("import.first", "import of 55,000 files", imported, (Goal("hashing", 3.0), Goal("cfsctl", 0.5))),
            Step("import.again", "import of the identical tree again", imported, (Goal("stat walk", 3.0),)),
            Step("import.rehash", "the same, every file read", read_again, (Goal("hashing", 1.4),)),
        ),
    ),
    Sequence(
        "import.many", FAMILY, those(Ours, Cfsctl, Hashing), tree="many",
        steps=(
            Step("import.many", "import of 1,000,000 files of 16 to 100 bytes", first, (Goal("cfsctl", 0.6),), quick=False),
            Step("import.many.rss", "the same: peak memory", footprint("rss"), (Limit(150e6, "150 MB"),), unit="bytes", quick=False),
            Step("import.many.disk", "the same: disk, relative to the content", footprint("disk"), (Limit(3.0, "3× content"),), unit="×", quick=False),
        ),
    ),
)
