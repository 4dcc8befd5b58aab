"""What the contestants work on: trees of files, each on a fresh ext4 of its own, made when a row first needs them.

    debian   the root filesystem of 55,000 files, with a git repository of 5,000 files in it
    big      one file of 1 GiB, and one smaller one
    small    1,000 tiny files in three levels of directories
    many     1,000,000 of them; with --quick 100,000
    unique   100,000 of them, no two alike
"""

import os
import random
import shutil
import stat
import subprocess

from lib.commands import ROOT, Unusable, run, say

from .host import Disk

REPOSITORY = "srv/repository"
BIG = "srv/big"
BIG_MIB = 1024


class Tree:
    """A tree of files at `source`, on the disk `disk`."""

    def __init__(self, world, name, disk):
        self.world, self.name, self.disk = world, name, disk
        self.source, self.store = f"{disk.path}/lower", f"{disk.path}/store"
        self._imported, self._content = False, None
        os.makedirs(f"{self.source}/srv")

    def cairnfs(self, *arguments):
        """A command of ours on the tree's store."""
        return [self.world.program, "--store", self.store, *arguments]

    def imported(self):
        """Has the tree in the store, as the ref of its name."""
        if not self._imported:
            run(*self.cairnfs("init"))
            run(*self.cairnfs("import", self.source, self.name))
            self._imported = True

    def content(self):
        """Bytes of its regular files, each inode once."""
        if self._content is None:
            found = (os.lstat(f"{top}/{name}") for top, _, names in os.walk(self.source) for name in names)
            self._content = sum({one.st_ino: one.st_size for one in found if stat.S_ISREG(one.st_mode)}.values())
        return self._content


class World:
    """The work folder, the programs, and the trees."""

    def __init__(self, work, program, quick):
        self.work, self.program, self.quick = work, program, quick
        self.client = f"{work}/client"
        run("cc", "-O2", "-Wall", "-Werror", "-o", self.client, f"{ROOT}/scripts/benchlib/client.c")
        self._trees, self._failed = {}, {}
        self.found = {}  # what families have looked up in trees

    def tree(self, name):
        """The tree, made when it isn't there."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._trees:
            say(f"making the tree `{name}`")
            try:
                tree = Tree(self, name, Disk(self.work, name, 16, inodes=4 << 20 if name == "many" else None))
                MAKERS[name](tree)
                os.sync()
            except Unusable as why:
                self._failed[name] = why
                raise
            self._trees[name] = tree
        return self._trees[name]

    def forget(self, keep):
        """Takes the trees away that no row needs any more."""
        for name in [name for name in self._trees if name not in keep]:
            self._trees.pop(name).disk.gone()

    def archive(self):
        """A tar of 5,000 files that lies outside of all that is measured."""
        path = f"{self.work}/files.tar"
        if not os.path.exists(path):
            repository = f"{self.tree('debian').source}/{REPOSITORY}"
            run("tar", "-C", repository, "--exclude=.git", "-cf", path, ".")
        return path

    def list_of(self, tree, what, most=None):
        """A file with paths of a tree in an order of chance: of `all`, or of `small` files; no more than `most`."""
        path = f"{self.work}/{tree.name}.{what}.{most}"
        if not os.path.exists(path):
            kinds = ["-type", "f", "-size", "-64k"] if what == "small" else []
            # A site may be at work in the directory for that.
            found = subprocess.run(["find", ".", "-path", "./srv/work", "-prune", "-o", *kinds, "-print0"], cwd=tree.source, stdout=subprocess.PIPE, check=True)
            names = sorted(found.stdout.split(b"\0")[:-1])
            random.Random(1).shuffle(names)
            with open(path, "wb") as out:
                out.write(b"".join(name + b"\0" for name in names[:most]))
        return path


def make_debian(tree):
    done = subprocess.run([f"{ROOT}/scripts/make-rootfs", "large"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unusable(" ".join(done.stderr.split())[-300:])
    run("tar", "-C", tree.source, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", done.stdout.strip())
    make_repository(tree.source)


def make_repository(source):
    """A git repository of the first 5,000 files of a large source package."""
    repository = f"{source}/{REPOSITORY}"
    packages = sorted(entry for entry in os.listdir(f"{source}/usr/share") if entry.startswith("go-"))
    if not packages:
        raise Unusable("no Go sources in the root filesystem")
    origin = f"{source}/usr/share/{packages[0]}/src"
    files = sorted(os.path.join(top, name)[len(origin) + 1 :] for top, _, names in os.walk(origin) for name in names)[:5000]
    for name in files:
        os.makedirs(os.path.dirname(f"{repository}/{name}"), exist_ok=True)
        shutil.copy2(f"{origin}/{name}", f"{repository}/{name}")
    git = ["git", "-C", repository, "-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    run(*git, "init", "-q")
    run(*git, "add", "-f", ".")
    run(*git, "commit", "-q", "-m", "all")


def make_big(tree):
    rng = random.Random(2)
    with open(f"{tree.source}/{BIG}", "wb") as out:
        for _ in range(BIG_MIB):
            out.write(rng.randbytes(1 << 20))


def make_tiny(tree, count, alike=2):
    """Files of 16 to 100 bytes, each content occurring `alike` times, in directories of three levels."""
    for i in range(0, 1000):
        os.makedirs(f"{tree.source}/{i % 10}/{i // 10 % 100:02}", exist_ok=True)
    for i in range(count):
        content = (b"%d is the content of a file " % (i // alike)) * 3
        fd = os.open(f"{tree.source}/{i % 10}/{i // 10 % 100:02}/{i // 1000:04}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, content[: 16 + i // alike % 85])
        os.close(fd)


MAKERS = {
    "debian": make_debian,
    "big": make_big,
    "small": lambda tree: make_tiny(tree, 1000),
    "many": lambda tree: make_tiny(tree, 100_000 if tree.world.quick else 1_000_000),
    "unique": lambda tree: make_tiny(tree, 100_000, alike=1),
}
