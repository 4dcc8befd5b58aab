"""Many small changes in a mount with a layer."""

import os

from lib.commands import Unusable

from .rows import Goal, Sequence, Step
from .sites import EVERY
from .world import REPOSITORY

FAMILY = "Writing many files"
GOALS = (Goal("overlayfs", 2.0), Goal("fuse-overlayfs", 0.35))


def own(site, index):
    """A directory of each client's own."""
    path = f"{site.work}/{index}"
    os.makedirs(path, exist_ok=True)
    return path


def entries(path):
    """How many entries lie beneath, and the bytes of those that are the source's: the proof that the work was done."""
    count = size = 0
    for top, directories, names in os.walk(path):
        count += len(directories) + len(names)
        if "/.git" not in top:  # git writes paths and times of its own there
            size += sum(os.lstat(f"{top}/{name}").st_size for name in names)
    return count, size


def proven(site, sample, beneath):
    sample.proof = [entries(f"{own(site, index)}/{beneath}") for index in range(site.clients)]
    if any(count < 5000 for count, _ in sample.proof):
        raise Unusable(f"only {sample.proof} entries were made")
    return sample


def untar(site):
    for index in range(site.clients):
        os.makedirs(f"{own(site, index)}/tar")
    sample, _ = site.time(lambda index: ["tar", "-C", f"{own(site, index)}/tar", "-xf", site.world.archive()])
    return proven(site, sample, "tar")


def read_again(site):
    sample, printed = site.time(lambda index: ["sh", "-c", f"grep -rFc zyzzyva {own(site, index)}/tar | wc -l"])
    sample.proof = printed
    return sample


def find_again(site):
    sample, printed = site.time(lambda index: ["find", f"{own(site, index)}/tar", "-printf", "%s\n"])
    # Of a directory, the size is the filesystem's own.
    sample.proof = [len(text.splitlines()) for text in printed]
    return sample


def remove(site):
    sample, _ = site.time(lambda index: ["rm", "-rf", f"{own(site, index)}/tar"])
    sample.proof = [os.listdir(own(site, index)) for index in range(site.clients)]
    if any(sample.proof):
        raise Unusable(f"left: {sample.proof}")
    return sample


def clone(site):
    origin = f"{site.root}/{REPOSITORY}" if os.path.isdir(f"{site.root}/{REPOSITORY}") else f"{site.tree.source}/{REPOSITORY}"
    sample, _ = site.time(lambda index: ["git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", origin, f"{own(site, index)}/clone"])
    return proven(site, sample, "clone")


def install(site):
    for index in range(site.clients):
        os.makedirs(f"{own(site, index)}/install")
    sample = site.client(lambda index: ["install", f"{own(site, index)}/install", "20000"])
    sample.proof = (sample.proof, [entries(f"{own(site, index)}/install")[0] for index in range(site.clients)])
    return sample


SEQUENCES = (
    Sequence(
        "untar", FAMILY, EVERY, tree="debian", mode="layer", twice=True,
        steps=(
            Step("untar", "`tar -x` of 5,000 files", untar, GOALS),
            Step("untar.find", "`find` of them", find_again),
            Step("untar.grep", "`grep -rF` of them", read_again),
            Step("rm", "`rm -rf` of them", remove, GOALS),
        ),
    ),
    Sequence("clone", FAMILY, EVERY, tree="debian", mode="layer", twice=True, steps=(Step("clone", "`git clone --no-hardlinks`, 5,000 files", clone, GOALS, quick=False),)),
    Sequence("install", FAMILY, EVERY, tree="debian", mode="layer", twice=True, steps=(Step("install", "20,000 files as a package manager installs them", install, GOALS, quick=False),)),
)
