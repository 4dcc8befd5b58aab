"""Samples by row and contestant, and what follows from them: medians, ratios, goals met or missed."""

import statistics

from .rows import OURS, AsAlone, Limit


class Results:
    def __init__(self):
        self.rows = {}  # id -> {"step", "sequence", "samples": {contestant: [Sample]}, "lost": {contestant: why}}

    def declare(self, sequence, wanted):
        for step in sequence.steps:
            if step.id in wanted:
                self.rows[step.id] = {"step": step, "sequence": sequence, "samples": {name: [] for name in sequence.sites}, "lost": {}}

    def add(self, row, contestant, sample):
        if row in self.rows:
            self.rows[row]["samples"][contestant].append(sample)

    def lose(self, sequence, contestant, why):
        """The contestant takes no further part in the sequence."""
        for step in sequence.steps:
            if step.id in self.rows:
                self.rows[step.id]["lost"][contestant] = why

    def lost(self, sequence, contestant):
        return any(contestant in self.rows[step.id]["lost"] for step in sequence.steps if step.id in self.rows)

    def median(self, row, contestant):
        """None when there is no sample, or when the contestant was lost on the way."""
        found = self.rows.get(row)
        if not found or not found["samples"].get(contestant) or contestant in found["lost"]:
            return None
        return statistics.median(sample.value for sample in found["samples"][contestant])

    def ratio(self, row, contestant, reference, reference_row=""):
        ours, theirs = self.median(row, contestant), self.median(reference_row or row, reference)
        return ours / theirs if ours is not None and theirs else None

    def cpu(self, row, contestant):
        """CPU seconds, of client and server together: on a busy machine they say more than the time."""
        samples = self.rows[row]["samples"].get(contestant)
        return statistics.median(sample.client_cpu + sample.server_cpu for sample in samples) if samples else None

    def judged(self, row):
        """For each goal: its text, our figure against it, and whether it is met; None where that can't be told."""
        out = []
        for goal in self.rows[row]["step"].goals:
            if isinstance(goal, Limit):
                figure = self.median(row, OURS)
                out.append({"goal": goal.text(), "figure": figure, "most": goal.most, "met": None if figure is None else figure <= goal.most})
                continue
            if isinstance(goal, AsAlone):
                figure, alone = self.ratio(row, OURS, goal.reference), self.ratio(goal.row, OURS, goal.reference)
                most = alone and alone * goal.slack
            else:
                figure, most = self.ratio(row, OURS, goal.reference, goal.row), goal.most
            met = None if figure is None or most is None else figure <= most
            ours, theirs = self.cpu(row, OURS), self.cpu(row, goal.reference)
            cpu = ours / theirs if ours and theirs and not getattr(goal, "row", "") and self.rows[row]["step"].unit in ("s", "µs") else None
            out.append({"goal": goal.text(), "reference": goal.reference, "figure": figure, "most": most, "met": met, "cpu": cpu})
        return out

    def line(self, row):
        """One row for the terminal."""
        found = self.rows[row]
        parts = []
        for name in found["samples"]:
            middle = self.median(row, name)
            parts.append(f"{name} {'can not' if middle is None else shown(middle, found['step'].unit)}")
        verdicts = [f"{'?' if j['met'] is None else 'met' if j['met'] else 'MISSED'} {ratio_text(j)} {j['goal']}{cpu_text(j)}" for j in self.judged(row)]
        return f"{row}: {', '.join(parts)}{'; ' if verdicts else ''}{'; '.join(verdicts)}"

    def document(self):
        """All of it for JSON."""
        out = {}
        for row, found in self.rows.items():
            step, contestants = found["step"], {}
            for name, samples in found["samples"].items():
                if samples and name not in found["lost"]:
                    contestants[name] = summary(samples)
                else:
                    contestants[name] = {"error": found["lost"].get(name, "no sample")}
            out[row] = {"title": step.title, "family": found["sequence"].family, "unit": step.unit, "contestants": contestants, "goals": self.judged(row)}
        return out


def summary(samples):
    values = [sample.value for sample in samples]
    beside = {key: statistics.median(sample.beside[key] for sample in samples) for key in samples[0].beside}
    return {
        "median": statistics.median(values), "min": min(values), "max": max(values), "samples": values,
        "client_cpu": statistics.median(sample.client_cpu for sample in samples),
        "server_cpu": statistics.median(sample.server_cpu for sample in samples),
        "rss": max(sample.rss for sample in samples),
        **({"beside": beside} if beside else {}),
    }


def ratio_text(judged):
    if judged["figure"] is None:
        return "can't tell"
    return f"{judged['figure']:.2f}×" if "reference" in judged else ""


def cpu_text(judged):
    return f" (CPU {judged['cpu']:.2f}×)" if judged.get("cpu") else ""


def shown(value, unit):
    """A figure with three significant digits and its unit."""
    if unit == "bytes":
        for word, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if abs(value) >= size:
                return f"{three(value / size)} {word}"
        return f"{value:.0f} B"
    if unit == "s" and 0 <= value < 0.1:
        return f"{three(value * 1e3)} ms"
    return f"{three(value)} {unit}"


def three(value):
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"
