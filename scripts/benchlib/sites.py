"""The contestants: one tree, as ext4, overlayfs, fuse-overlayfs and cairnfs show it.

A tree lies on an ext4 of its own, with everything that the contestants make of it: the store, upper directories. `mode` is `ro`, or `layer` for a
mount that can be written, made anew for each round.
"""

import itertools
import os
import shutil

from lib.commands import Unusable, run

from . import host

WORK = "srv/work"  # where rows that write do so, beneath the root
_numbers = itertools.count(1)


class Site:
    """A contestant that is set up: `root` is the tree's root, `pid` the process that serves it, if one does."""

    name = ""
    pid = None

    def __init__(self, world, sequence):
        self.world, self.sequence, self.clients = world, sequence, sequence.clients
        self.number = next(_numbers)
        self.tree = world.tree(sequence.tree)
        self.writable = sequence.mode == "layer"
        self.root = f"{world.work}/m{self.number}"
        self._undo = []

    def up(self):
        self.prepare()
        command = self.command()
        if command:
            run(*command)
            self.mounted()
        if self.writable:
            os.makedirs(self.work)

    def prepare(self):
        """Makes what the mount needs, and has it taken away at the end."""
        os.mkdir(self.root)
        self.later(shutil.rmtree, self.root, True)

    def command(self):
        """The command that mounts, and returns when that is done."""
        raise NotImplementedError

    def mounted(self):
        """Finds what serves the mount, once it is there."""

    def later(self, function, *args):
        """What takes away what was just made; the last one told comes first."""
        self._undo.append(host.at_end(function, *args))

    def down(self):
        while self._undo:
            host.undo(self._undo.pop())

    @property
    def work(self):
        return f"{self.root}/{WORK}"

    def inside(self, *command):
        """The command, with the tree as its root filesystem."""
        return ["chroot", self.root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", *command]

    def time(self, command_of, **options):
        """Times a command, or as many at once as there are clients: `command_of(index)` is the command of each."""
        return host.timed([command_of(index) for index in range(self.clients)], server=self.pid, **options)

    def client(self, *arguments):
        """Times the C client by its own clock; of several at once, by the slowest."""
        command_of = arguments[0] if callable(arguments[0]) else lambda _: arguments
        sample, printed = self.time(lambda index: [self.world.client, *map(str, command_of(index))])
        figures = [list(map(int, text.split())) for text in printed]
        sample.figure = max(nanoseconds for nanoseconds, _, _ in figures) / 1e9
        sample.proof = [tuple(rest) for _, *rest in figures]
        return sample

    def beside(self, name):
        """A fresh directory on the tree's disk, gone when the site goes."""
        path = f"{self.tree.disk.path}/{name}{self.number}"
        os.makedirs(path)
        self.later(shutil.rmtree, path, True)
        return path


class Native(Site):
    """The tree itself, or where rows write a directory beside it."""

    name = "ext4"

    def prepare(self):
        self.root = self.beside("native") if self.writable else self.tree.source

    def command(self):
        return None


class Overlayfs(Site):
    name = "overlayfs"

    def prepare(self):
        super().prepare()
        if self.writable:
            self.upper = self.beside("upper")
            self.layers = f"lowerdir={self.tree.source},upperdir={self.upper},workdir={self.beside('work')}"
        else:
            self.layers = self.lower_only()
        self.later(host.unmount, self.root)

    def lower_only(self):
        return f"ro,lowerdir={self.tree.source}:{self.beside('empty')}"

    def command(self):
        return ["mount", "-t", "overlay", "-o", self.layers, "overlay", self.root]


class FuseOverlayfs(Overlayfs):
    name = "fuse-overlayfs"

    def prepare(self):
        self.program = shutil.which("fuse-overlayfs")
        if not self.program:
            raise Unusable("the program isn't here")
        super().prepare()

    def lower_only(self):
        return f"ro,lowerdir={self.tree.source}"

    def command(self):
        return [self.program, "-o", f"{self.layers},dev,suid,allow_other", self.root]

    def mounted(self):
        self.pid = server_of(self.root)


class Cairnfs(Site):
    name = "cairnfs"

    def prepare(self):
        super().prepare()
        self.tree.imported()
        self.layer = f"layer{self.number}"
        if self.writable:
            self.later(self._remove_layer)
        self.later(self._unmount)

    def command(self):
        return self.tree.cairnfs("mount", self.tree.name, self.root, *(["--layer", self.layer] if self.writable else []))

    def mounted(self):
        self.pid = server_of(self.root)

    def _unmount(self):
        if host.is_mounted(self.root):
            run(*self.tree.cairnfs("umount", self.root))

    def _remove_layer(self):
        if os.path.exists(f"{self.tree.store}/layers/{self.layer}"):
            run(*self.tree.cairnfs("rm", "layer", self.layer))


def server_of(mountpoint):
    """The process that was started with the mountpoint as an argument, and serves it."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if mountpoint.encode() in file.read().split(b"\0"):
                        return int(entry)
            except OSError:
                pass  # it has ended meanwhile
    raise Unusable(f"no process serves {mountpoint}")


FILESYSTEMS = {kind.name: kind for kind in (Cairnfs, Overlayfs, FuseOverlayfs, Native)}


def those(*names):
    return {name: FILESYSTEMS[name] for name in names}


EVERY = those("cairnfs", "overlayfs", "fuse-overlayfs", "ext4")
LAYERED = those("cairnfs", "overlayfs", "fuse-overlayfs")
