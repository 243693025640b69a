"""A run in numbers: a table for a person, JSON for a program, a PNG for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from irs.simulate.engine import Run

#: Seconds that one point of the plot stands for, at least, and points in it, at most.
BIN, POINTS = 60.0, 480


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One policy on one trace. None: not known for it (a bound has no waits)."""

    policy: str
    instance_hours: float
    dollars: float
    #: instance-hours over the bound's
    ratio: float | None = None
    #: seconds from arrival to the start of work
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    longest: float | None = None
    #: part of the messages that waited longer than the target, 0 to 1
    over_target: float | None = None
    launches: int | None = None
    wasted_launches: int | None = None
    busy_kills: int | None = None
    #: messages never served
    unserved: int | None = None


def row(run: Run, *, wait: float, price: float, bound: float | None = None) -> Row:
    """``wait``: the target, seconds; ``price``: dollars an instance-hour; ``bound``: instance-seconds."""
    waits = run.waits if len(run.waits) else np.zeros(1)
    p50, p95, p99, longest = (float(value) for value in np.percentile(waits, [50, 95, 99, 100]))
    hours = run.instance_seconds / 3600
    return Row(policy=run.controller, instance_hours=hours, dollars=hours * price,
               ratio=run.instance_seconds / bound if bound else None,
               p50=p50, p95=p95, p99=p99, longest=longest, over_target=float((waits > wait).mean()),
               launches=run.launches, wasted_launches=run.wasted_launches, busy_kills=run.busy_kills,
               unserved=run.unserved)


#: Heading, field, format; the fields' order in a table.
_COLUMNS = (
    ("policy", "policy", "{}"), ("inst-h", "instance_hours", "{:.2f}"), ("$", "dollars", "{:.2f}"),
    ("/bound", "ratio", "{:.2f}"), ("p50 s", "p50", "{:.1f}"), ("p95 s", "p95", "{:.1f}"),
    ("p99 s", "p99", "{:.1f}"), ("max s", "longest", "{:.1f}"), ("over W", "over_target", "{:.2%}"),
    ("launches", "launches", "{}"), ("wasted", "wasted_launches", "{}"), ("killed", "busy_kills", "{}"),
)


def table(rows: Sequence[Row]) -> str:
    """Lines of equal columns, headings first; what is not known is a dash."""
    cells = [[heading for heading, _, _ in _COLUMNS]]
    for each in rows:
        values = [(getattr(each, name), form) for _, name, form in _COLUMNS]
        cells.append(["–" if value is None else form.format(value) for value, form in values])
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = []
    for line in cells:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())
    return "\n".join(lines)


def as_dict(each: Row) -> dict[str, Any]:
    """For JSON: every field, rounded to what the model can mean."""
    return {key: round(value, 4) if isinstance(value, float) else value
            for key, value in asdict(each).items()}


def plot(path: Path, columns: Sequence[tuple[str, Sequence[tuple[Run, np.ndarray]]]], *,
         wait: float) -> None:
    """Queue, fleet and wait over time, one column of axes a trace, one line a policy.

    ``columns``: (trace's name, its runs, each with its arrival times (n,)). The format is
    that of ``path``'s ending (.png, .svg, .pdf). Raises `OSError` where it cannot be
    written and `ValueError` for an ending that matplotlib has no format for.
    """
    import matplotlib as mpl

    mpl.use("Agg")  # draws into a file: no display is asked for
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, len(columns), figsize=(3 + 7 * len(columns), 9), sharex="col",
                                   squeeze=False, layout="constrained")
    try:
        for column, (name, runs) in enumerate(columns):
            _column(axes[:, column], name, runs, wait)
        axes[0][0].set_ylabel("messages waiting in the queue")
        axes[1][0].set_ylabel("instances, booting included")
        axes[2][0].set_ylabel("95th percentile of the wait (s)")
        handles, labels = axes[1][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, max(1, len(labels))))
        figure.savefig(path, dpi=110)
    finally:
        pyplot.close(figure)


def _column(axes: Any, name: str, runs: Sequence[tuple[Run, np.ndarray]], wait: float) -> None:
    axes[0].set_title(name)
    end = max((run.duration for run, _ in runs), default=1.0)
    scale, unit = (3600.0, "hours") if end > 2 * 3600 else (60.0, "minutes")
    width = max(BIN if scale > 60 else 5.0, end / POINTS)
    for number, (run, arrivals) in enumerate(runs):
        # The first policy is the one that the others are compared with: on top, and thicker.
        style = {"color": f"C{number}", "label": run.controller, "linewidth": 1.8 if number == 0 else 1.0,
                 "zorder": 4 if number == 0 else 2}
        bins = (run.at // width).astype(int)
        edges = np.flatnonzero(np.r_[True, np.diff(bins) > 0])
        at = run.at[edges] / scale
        axes[0].plot(at, np.maximum.reduceat(run.queue, edges), **style)
        axes[1].step(at, np.maximum.reduceat(run.ready + run.booting, edges), where="post", **style)
        at, waits = _waits(arrivals, run.waits, width, scale)
        # A point between two gaps is no line: only a mark shows it.
        axes[2].plot(at, waits, marker="." if np.isnan(waits).any() else None, markersize=3, **style)
    axes[0].set_yscale("symlog", linthresh=10)
    axes[2].set_yscale("symlog", linthresh=10)
    axes[2].axhline(wait, color="black", linestyle="--", linewidth=0.8)
    axes[2].annotate(f"target {wait:g} s", (0.01, wait), xycoords=("axes fraction", "data"), va="bottom")
    axes[2].set_xlabel(f"time ({unit})")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.set_xlim(0, end / scale)
        axis.grid(visible=True, linewidth=0.3)


def _waits(arrivals: np.ndarray, waits: np.ndarray, width: float,
           scale: float) -> tuple[list[float], list[float]]:
    """p95 of the wait by arrival time; a gap in the line where nothing arrived."""
    if not len(arrivals):
        return [], []
    bins = (arrivals // width).astype(int)
    at, values, last = [], [], None
    for part in np.split(np.arange(len(bins)), np.flatnonzero(np.diff(bins)) + 1):
        number = int(bins[part[0]])
        if last is not None and number > last + 1:
            at.append((last + 1) * width / scale)
            values.append(math.nan)
        at.append(number * width / scale)
        values.append(float(np.percentile(waits[part], 95)))
        last = number
    return at, values
