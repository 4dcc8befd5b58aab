"""Changes of the metadata of what the base has."""

import os
import subprocess

from lib.commands import Unusable

from .rows import Goal, Sequence, Step
from .sites import LAYERED

FAMILY = "Small changes to large things"


def directory(site, entries):
    """The directory of the base whose number of entries beneath is nearest to `entries`, the same for all contestants."""
    key = (site.tree.name, entries)
    if key not in site.world.found:
        counts = {}
        for top, directories, names in os.walk(f"{site.tree.source}/usr", topdown=False):
            counts[top] = len(directories) + len(names) + sum(counts.get(f"{top}/{name}", 0) for name in directories)
        best = min(counts, key=lambda path: (abs(counts[path] - entries), path))
        site.world.found[key] = best[len(site.tree.source) + 1 :], counts[best]
    return site.world.found[key]


def owners(path):
    return len(subprocess.run(["find", path, "-uid", "1234", "-printf", "x"], stdout=subprocess.PIPE, check=True).stdout)


def chown(site):
    path, count = directory(site, 13_000)
    sample, _ = site.time(lambda _: ["chown", "-R", "-h", "1234:1234", f"{site.root}/{path}"])
    sample.proof = owners(f"{site.root}/{path}")
    if sample.proof != count + 1:
        raise Unusable(f"{sample.proof} of {count + 1} entries have the owner")
    return sample


def moved(site, path, to):
    count = sum(len(directories) + len(names) for _, directories, names in os.walk(to))
    if os.path.exists(f"{site.root}/{path}"):
        raise Unusable("it is still there")
    return count


def move(site):
    """`mv`, which copies where rename(2) is refused."""
    path, _ = directory(site, 7_000)
    sample, _ = site.time(lambda _: ["mv", f"{site.root}/{path}", f"{site.work}/moved"])
    sample.proof = moved(site, path, f"{site.work}/moved")
    return sample


def rename(site):
    path, _ = directory(site, 7_000)
    try:
        sample = site.client("rename", f"{site.root}/{path}", f"{site.work}/moved")
    except Unusable as why:
        if "cross-device" not in str(why):
            raise
        return move(site)
    sample.proof = moved(site, path, f"{site.work}/moved")
    return sample


SEQUENCES = (
    Sequence("chown", FAMILY, LAYERED, tree="debian", mode="layer", steps=(Step("chown", "`chown -R` of 13,000 clean entries", chown, (Goal("overlayfs", 0.1),)),)),
    Sequence("mv", FAMILY, LAYERED, tree="debian", mode="layer", steps=(Step("mv", "`mv` of a clean directory of 7,000 entries", move, (Goal("overlayfs", 0.01),), quick=False),)),
    Sequence(
        "rename", FAMILY, LAYERED, tree="debian", mode="layer",
        steps=(Step("rename", "the same with rename(2), or with `mv` where that is refused with EXDEV", rename, (Goal("overlayfs", 0.01),)),),
    ),
)
