"""How long until a mount answers, and what its server keeps in memory."""

import ctypes
import json
import os
import stat
import subprocess
import time

from lib.commands import Unusable

from . import host
from .host import Sample
from .rows import Goal, Limit, Sequence, Step
from .sites import Cairnfs, FuseOverlayfs, Overlayfs, those

MOUNTING, MEMORY = "Mounting", "Memory"
DEEP = "0/00/0000"
LIBC = ctypes.CDLL(None, use_errno=True)
CACHESTAT = 451  # the same number on all machines


class NotYet:
    """A contestant whose mount is what is timed."""

    def up(self):
        self.prepare()


UNMOUNTED = {kind.name: type(f"Late{kind.__name__}", (NotYet, kind), {}) for kind in (Cairnfs, Overlayfs, FuseOverlayfs)}


def mount(site):
    """From the start of the command that mounts to the answer of the first stat, three levels down."""
    return site.client("wait", f"{site.root}/{DEEP}", *site.command())


def resident(site):
    pid = site.pid
    return Sample(0.0, figure=float(host.status_of(pid, "VmRSS")), rss=host.status_of(pid, "VmHWM"))


def fresh(site):
    os.stat(site.root)
    return resident(site)


def walked(site):
    found = subprocess.run(["find", site.root, "-printf", "x"], stdout=subprocess.PIPE, check=True)
    sample = resident(site)
    sample.proof = len(found.stdout)
    return sample


class Many:
    """Fifty read-only mounts of one tree, and in each of them python."""

    COUNT = 50
    READY = """import django.conf, numpy, json, asyncio, sys
files = {line.split()[-1] for line in open('/proc/self/maps') if '/' in line} if __import__('os').path.exists('/proc/self/maps') else set()
for module in list(sys.modules.values()):
    files |= {getattr(module, '__file__', None), getattr(module, '__cached__', None)}
print(json.dumps([name for name in files if name and name[0] == '/']), flush=True)
input()"""

    def __init__(self, world, sequence):
        self.world, self.sequence = world, sequence
        self.mounts = [self.kind(world, sequence) for _ in range(self.COUNT)]
        self.tree = world.tree(sequence.tree)
        self.programs = []

    def up(self):
        for site in self.mounts:
            site.up()

    def down(self):
        self.end_programs()
        for site in self.mounts:
            site.down()

    def end_programs(self):
        for program in self.programs:
            program.kill()
            program.wait()
            program.stdin.close()
            program.stdout.close()
        self.programs = []

    def start(self):
        for site in self.mounts:
            self.programs.append(subprocess.Popen(site.inside("python3", "-B", "-c", self.READY), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for program in self.programs:
            line = program.stdout.readline()
            if not line.startswith(b"["):
                raise Unusable("a python didn't start")
            self.files = json.loads(line)

    def cached(self):
        """Bytes of the page cache that hold content of the tree: in the filesystem beneath, and in each mount that keeps pages of its own."""
        beneath = self.tree.source if self.kind is Overlayfs else f"{self.tree.store}/objects"
        total = sum(cached(f"{top}/{name}") for top, _, names in os.walk(beneath) for name in names)
        return total + sum(cached(site.root + name) for site in self.mounts if site.pid for name in self.files)


FIFTY = {kind.name: type(f"Many{kind.__name__}", (Many,), {"kind": kind}) for kind in (Cairnfs, Overlayfs)}


def cached(path):
    """Bytes of a regular file that are in the page cache, by cachestat(2) of Linux 6.5; 0 of what isn't a regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return 0
        found = (ctypes.c_uint64 * 5)()
        if LIBC.syscall(CACHESTAT, fd, (ctypes.c_uint64 * 2)(), found, 0):
            raise Unusable(f"cachestat(2): {os.strerror(ctypes.get_errno())}")
        return found[0] * os.sysconf("SC_PAGE_SIZE")
    finally:
        os.close(fd)


def page_cache(many):
    host.drop_caches()
    began = time.monotonic()
    many.start()
    took = time.monotonic() - began
    servers = sum(host.status_of(site.pid, "VmRSS") for site in many.mounts)
    return Sample(took, figure=float(many.cached()), rss=servers, proof=len(many.programs))


def all_resident(many):
    """Servers and programs; what programs share is counted once, as the kernel tells it."""
    servers = sum(host.status_of(site.pid, "VmRSS") for site in many.mounts)
    return Sample(0.0, figure=float(servers + sum(map(share, many.programs))), rss=servers, proof=len(many.programs))


def share(process):
    with open(f"/proc/{process.pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


SEQUENCES = (
    Sequence("mount.small", MOUNTING, UNMOUNTED, tree="small", mode="ro",
             steps=(Step("mount.small", "mount to first deep stat, 1,000 files", mount, (Goal("overlayfs", 2.5),)),)),
    Sequence("mount.many", MOUNTING, UNMOUNTED, tree="many", mode="ro",
             steps=(Step("mount.many", "mount to first deep stat, 1,000,000 files (100,000 if quick)", mount,
                         (Goal("overlayfs", 2.5), Goal("cairnfs", 1.1, row="mount.small"))),)),
    Sequence("rss", MEMORY, those("cairnfs", "fuse-overlayfs"), tree="debian", mode="ro",
             steps=(Step("rss.fresh", "daemon, fresh mount", fresh, (Limit(15e6, "15 MB"),), unit="bytes"),
                    Step("rss.walked", "daemon, after walking 55,000 files", walked, (Limit(25e6, "25 MB"),), unit="bytes"))),
    Sequence("rss.many", MEMORY, those("cairnfs", "fuse-overlayfs"), tree="many", mode="ro",
             steps=(Step("rss.many", "daemon, after walking 1,000,000 files", walked, (Limit(150e6, "150 MB"),), unit="bytes", quick=False),)),
    Sequence("fifty", MEMORY, FIFTY, tree="debian", mode="ro",
             steps=(Step("fifty.cache", "50 mounts, python in each: page cache", page_cache, (Goal("overlayfs", 1.1),), unit="bytes", quick=False),
                    Step("fifty.rss", "the same: servers and programs", all_resident, unit="bytes", quick=False))),
)
