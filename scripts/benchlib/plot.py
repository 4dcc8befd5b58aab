"""A picture of all rows: how many times the reference's time cairnfs takes, on a logarithmic scale, with the goal beside it.

It is made of what results.py writes as JSON, so that it can be drawn again without measuring. Colours are readable on light and dark pages.
"""

import math
from xml.sax.saxutils import escape

LEFT, RIGHT, LINE, HEAD = 400, 150, 22, 64
WIDTH = 1080
LOW, HIGH = 0.005, 30
GOOD, BAD, TEXT, FAINT = "#1a7f37", "#cf222e", "#24292f", "#8c959f"
# Whoever has no mark of its own has the last.
MARKS = {"fuse-overlayfs": "#8250df", "ext4": "#57606a", "others": "#bc4c00"}


def x_of(ratio):
    """Where a ratio lies; what is off the scale lies at its end."""
    span = WIDTH - LEFT - RIGHT
    inside = min(max(ratio, LOW), HIGH)
    return LEFT + span * (math.log(inside) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))


def lines(rows):
    """What is drawn: for each row with a goal against somebody, our ratio to the first such, with the range that the samples span."""
    out = []
    for identity, row in rows.items():
        judged = next((goal for goal in row["goals"] if goal.get("reference") and goal["figure"] is not None), None)
        if not judged or identity.endswith(".2"):
            continue
        reference = row["contestants"].get(judged["reference"], {})
        ours = row["contestants"]["cairnfs"]
        middle = reference.get("median") or ours["median"] / judged["figure"]
        others = {name: found["median"] / middle for name, found in row["contestants"].items() if "median" in found and name not in ("cairnfs", judged["reference"])}
        out.append({"row": row, "judged": judged, "low": ours["min"] / middle, "high": ours["max"] / middle, "others": others})
    return out


def draw(found):
    """The picture as SVG."""
    drawn = lines(found["rows"])
    families = list(dict.fromkeys(line["row"]["family"] for line in drawn))
    height = HEAD + LINE * len(drawn) + 30 * len(families) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(20, 26, "cairnfs beside what it is compared with", size=17, weight=600),
        *legend(),
        *grid(height),
    ]
    y = HEAD
    for family in families:
        y += 30
        out.append(text(20, y - 6, family, weight=600))
        for line in drawn:
            if line["row"]["family"] == family:
                out += row_of(line, y + LINE / 2)
                y += LINE
    return "\n".join([*out, "</svg>", ""])


def text(x, y, words, size=13, weight=400, fill=TEXT, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">{escape(words)}</text>'


def legend():
    parts = ((GOOD, "cairnfs, goal met"), (BAD, "cairnfs, goal missed"))
    x, out = 20, []
    for colour, words in parts:
        out += [f'<circle cx="{x + 5}" cy="44" r="5" fill="{colour}"/>', text(x + 16, 48, words, size=12)]
        x += 34 + 7 * len(words)
    out += [f'<path d="M{x + 5} 37v14" stroke="{TEXT}" stroke-width="2.5"/>', text(x + 14, 48, "goal", size=12)]
    x += 60
    for name in MARKS:
        out += [mark(name, x + 5, 44), text(x + 16, 48, name, size=12)]
        x += 34 + 7 * len(name)
    out.append(text(WIDTH - 20, 48, "further left is faster, or less", size=12, fill=FAINT, anchor="end"))
    return out


def mark(name, x, y):
    """A contestant that is neither ours nor the reference: a square for ext4, else a circle."""
    colour = MARKS.get(name, MARKS["others"])
    if name == "ext4":
        return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="#fff" stroke="{colour}" stroke-width="1.5"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#fff" stroke="{colour}" stroke-width="1.5"/>'


def grid(height):
    out = []
    for ratio in (0.01, 0.1, 1, 10):
        x, strong = x_of(ratio), ratio == 1
        out.append(f'<path d="M{x:.1f} {HEAD + 8}V{height - 30}" stroke="{TEXT if strong else "#d0d7de"}" stroke-width="1"/>')
        out.append(text(x, height - 12, "as the reference" if strong else f"{ratio:g}×", size=12, fill=TEXT if strong else FAINT, anchor="middle"))
    return out


def row_of(line, y):
    row, judged = line["row"], line["judged"]
    colour = GOOD if judged["met"] else BAD
    ratio, goal = x_of(judged["figure"]), x_of(judged["most"])
    label = row["title"].replace("`", "")
    out = [
        text(LEFT - 14, y + 4, label if len(label) <= 62 else label[:60] + "…", size=12.5, anchor="end"),
        f'<path d="M{x_of(line["low"]):.1f} {y:.1f}H{x_of(line["high"]):.1f}" stroke="{colour}" stroke-width="5" stroke-opacity=".3" stroke-linecap="round"/>',
        f'<path d="M{goal:.1f} {y - 7:.1f}v14" stroke="{TEXT}" stroke-width="2.5"/>',
    ]
    for name, other in line["others"].items():
        out.append(mark(name, x_of(other), y))
    out.append(f'<circle cx="{ratio:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
    out.append(text(WIDTH - RIGHT + 14, y + 4, f"{digits(judged['figure'])}× {judged['reference']}", size=12.5, fill=colour))
    return out


def digits(ratio):
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
