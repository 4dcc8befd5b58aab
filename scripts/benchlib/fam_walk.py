"""Reading the whole tree: names, attributes, content."""

from lib.commands import Unusable

from .rows import Goal, Sequence, Step
from .sites import EVERY, LAYERED, those

FAMILY = "Reading the whole tree"
# The control directory is never listed; nothing of these has to be left out.


def find(site):
    sample, printed = site.time(lambda _: ["find", site.root, "-printf", "x"])
    sample.proof = [len(text) for text in printed]
    return sample


def lstat(site):
    return site.client(lambda _: ["lstat", site.world.list_of(site.tree, "all"), site.root])


def tar(site):
    # tar doesn't read what it writes to /dev/null; through a pipe it does.
    sample, printed = site.time(lambda _: ["sh", "-c", f"tar -C {site.root} --numeric-owner --sort=none -cf - . | wc -c"])
    # Its length differs by the filesystem: one that doesn't keep hard links together has more of it.
    if any(int(text) < site.tree.content() for text in printed):
        raise Unusable(f"the archives have {printed} bytes, the files {site.tree.content()}")
    return sample


def grep(site):
    sample, printed = site.time(lambda _: ["sh", "-c", f"grep -rFc zyzzyva {site.root}/usr {site.root}/etc | wc -l"])
    sample.proof = printed
    if any(int(text) < 1000 for text in printed):
        raise Unusable(f"grep has seen {printed} files")
    return sample


def small_files(site):
    return site.client(lambda _: ["open", site.world.list_of(site.tree, "small", 10_000), site.root, "5"])


def warm_small_files(site):
    """Once unmeasured, then measured."""
    site.client(lambda _: ["open", site.world.list_of(site.tree, "small", 10_000), site.root, "1"])
    sample = small_files(site)
    sample.figure *= 1e6 / sample.proof[0][0]
    return sample


SEQUENCES = (
    Sequence(
        "find", FAMILY, EVERY, tree="debian", mode="ro", twice=True,
        steps=(
            Step("find.first", "`find`, first touch", find, (Goal("overlayfs", 1.5), Goal("fuse-overlayfs", 0.35))),
            Step("find.second", "`find`, second", find, (Goal("overlayfs", 1.0),)),
            Step("lstat.after-walk", "lstat of every path in random order, after the walk", lstat, (Goal("overlayfs", 1.0),)),
        ),
    ),
    Sequence(
        "lstat", FAMILY, EVERY, tree="debian", mode="ro", twice=True,
        steps=(Step("lstat.first", "lstat of every path in random order, first touch", lstat, (Goal("overlayfs", 2.2),)),),
    ),
    Sequence(
        "tar", FAMILY, EVERY, tree="debian", mode="ro", twice=True,
        steps=(
            Step("tar.first", "`tar`, first touch", tar, (Goal("overlayfs", 1.8),)),
            Step("tar.second", "`tar`, second", tar, (Goal("overlayfs", 1.1),)),
            Step("grep", "`grep -rF` of `/usr` and `/etc`, warm", grep, (Goal("overlayfs", 1.25),)),
        ),
    ),
    Sequence(
        "open.ro", FAMILY, those("cairnfs", "overlayfs", "ext4"), tree="debian", mode="ro", twice=True,
        steps=(Step("open.ro", "open, read, close of a small file, warm, read-only mount", warm_small_files, (Goal("overlayfs", 1.1),), unit="µs"),),
    ),
    Sequence(
        "open.layer", FAMILY, LAYERED, tree="debian", mode="layer", twice=True,
        steps=(
            Step("open.layer", "open, read, close of a small file, warm, mount with a layer", warm_small_files,
                 (Goal("overlayfs", 3.0), Goal("fuse-overlayfs", 0.6)), unit="µs"),
        ),
    ),
)
