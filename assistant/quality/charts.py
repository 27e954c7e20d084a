"""Charts for reports, as SVG text that stands in an HTML page. Only importer of ``matplotlib``.

Knows nothing of answers: numbers and names in, a picture out. Text stays text, so that a chart can
be searched, read aloud and scaled.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assistant.escaping import plain_line, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#999999", "#cc3311", "#009e73", "#56b4e9")
"""Told apart also by the colour-blind (Okabe and Ito 2008)."""

_WIDTH_INCHES = 7.0
_MOST_LABEL_CHARS = 48


def stacked_bars(
    title: str, names: Sequence[str], parts: Mapping[str, Sequence[int]], unit: str
) -> str:
    """Horizontal bars that are made of named parts; a part has one number per bar."""
    figure, axes = _figure(0.9 + 0.35 * len(names))
    left = [0] * len(names)
    for colour, (part, values) in zip(COLOURS, parts.items(), strict=False):
        bars = axes.barh(names, values, left=left, color=colour, label=part)
        shown = [str(value) if value else "" for value in values]
        axes.bar_label(bars, shown, label_type="center", color="white")
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return _svg(figure, axes, title)


def cumulative(title: str, series: Mapping[str, Sequence[float]], unit: str) -> str:
    """For each series the share of its values that are at most x."""
    figure, axes = _figure(2.8)
    for colour, (name, values) in zip(COLOURS, series.items(), strict=False):
        if values:
            axes.ecdf(values, color=colour, label=f"{name} ({len(values)})")
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_ylabel("share")
    axes.grid(alpha=0.3)
    if any(series.values()):
        axes.legend(loc="lower right", frameon=False)
    return _svg(figure, axes, title)


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """A horizontal bar for each name, in the order given."""
    figure, axes = _figure(0.9 + 0.3 * len(values))
    positions = range(len(values))  # not the names: two that read the same are two bars
    drawn = axes.barh(positions, list(values.values()), color=COLOURS[0])
    axes.set_yticks(positions, [_shown(name) for name in values])
    axes.bar_label(drawn, [f"{value:g}" for value in values.values()], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    return _svg(figure, axes, title)


def _shown(name: str) -> str:
    """The name, short enough for an axis, and with nothing in it that would be typeset."""
    return shorten(plain_line(name), _MOST_LABEL_CHARS).replace("$", r"\$")


def calibration(title: str, scores: Sequence[float], outcomes: Sequence[bool], unit: str) -> str:
    """Share of true outcomes in bins of equal size over the score, with the number in each."""
    figure, axes = _figure(2.8)
    pairs = sorted(zip(scores, outcomes, strict=True))
    size = max(5, -(-len(pairs) // 8))
    bins = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    x = [sum(score for score, _ in each) / len(each) for each in bins]
    y = [sum(outcome for _, outcome in each) / len(each) for each in bins]
    axes.plot(x, y, marker="o", color=COLOURS[0])
    for each, at, share in zip(bins, x, y, strict=True):
        axes.annotate(str(len(each)), (at, share), textcoords="offset points", xytext=(4, -10))
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel(unit)
    axes.set_ylabel("share")
    axes.grid(alpha=0.3)
    return _svg(figure, axes, title)


def _figure(height_inches: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, axes: Axes, title: str) -> str:
    import matplotlib as mpl

    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "chart"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    # Without XML declaration and doctype it may stand inside HTML.
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
