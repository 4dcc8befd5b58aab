"""What a row is.

A `Sequence` is what one contestant does in one round: it is set up, does the steps in order, and is taken away; then the next contestant has its
turn. Each `Step` is a row of the result. So a second `find` is a step after the first, in the same mount.
"""

import dataclasses
import fnmatch
from collections.abc import Callable

OURS = "cairnfs"


@dataclasses.dataclass(frozen=True)
class Goal:
    """Our median is to be at most `most` times that of `reference`, of the same row, or of `row` when that is given."""

    reference: str
    most: float
    row: str = ""

    def text(self):
        whose = f"{self.reference} in `{self.row}`" if self.row else self.reference
        return f"≤ {self.most:g}× {whose}"


@dataclasses.dataclass(frozen=True)
class Limit:
    """Our median is to be at most this, in the row's unit."""

    most: float
    text_of: str

    def text(self):
        return f"≤ {self.text_of}"


@dataclasses.dataclass(frozen=True)
class AsAlone:
    """Our ratio to `reference` with two clients is to be no worse than with one, which `row` is; `slack` allows for noise."""

    reference: str
    row: str
    slack: float = 1.1

    def text(self):
        return f"ratio to {self.reference} no worse than with one client (+10 % for noise)"


@dataclasses.dataclass(frozen=True)
class Step:
    """One row: `act(site)` does the work and returns a Sample, whose `proof` must be the same on all contestants."""

    id: str
    title: str
    act: Callable
    goals: tuple = ()
    unit: str = "s"
    quick: bool = True
    apart: bool = False  # no later step builds on it


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Steps that one contestant does one after another; `sites` makes a contestant by name, `twice` adds the same with two clients at once.

    A quick run has only those contestants that a goal names, unless rows were asked for by name.
    """

    name: str
    family: str
    sites: dict
    steps: tuple
    tree: str = ""
    mode: str = ""
    twice: bool = False
    quick_rounds: int = 2
    clients: int = 1
    prepare: Callable | None = None

    def doubled(self):
        """The same with two clients at once."""
        steps = []
        for step in self.steps:
            references = {goal.reference: AsAlone(goal.reference, step.id) for goal in step.goals if isinstance(goal, Goal) and not goal.row}
            steps.append(dataclasses.replace(step, id=f"{step.id}.2", title=f"{step.title}, 2 clients", goals=tuple(references.values()), quick=False))
        return dataclasses.replace(self, name=f"{self.name}.2", steps=tuple(steps), clients=2, twice=False)

    def selected(self, patterns, quick):
        """The sequence with the steps that are asked for, and those before that they build on; None when there are none."""
        last = -1
        wanted = set()
        for index, step in enumerate(self.steps):
            if (patterns or step.quick or not quick) and (not patterns or any(fnmatch.fnmatch(step.id, pattern) for pattern in patterns)):
                last = index
                wanted.add(step.id)
        if not wanted:
            return None
        needed = {OURS} | {goal.reference for step in self.steps for goal in step.goals if not isinstance(goal, Limit)}
        sites = {name: site for name, site in self.sites.items() if not quick or patterns or name in needed}
        steps = tuple(step for step in self.steps[: last + 1] if step.id in wanted or not step.apart)
        return dataclasses.replace(self, steps=steps, sites=sites), wanted
