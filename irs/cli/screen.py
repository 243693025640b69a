"""`irs status`: one screen, made anew from what was last seen. Imported by that verb alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from irs.cli import wording

#: A cell an instance, by what it does: what it looks like, the same for a terminal without
#: Unicode, and its style.
_CELLS = {"booting": ("◌", "o", "yellow"), "idle": ("□", "_", "cyan"), "busy": ("■", "#", "green"),
          "draining": ("▼", "v", "magenta"), "stopped": ("·", ".", "dim")}
#: Seconds without a decision after which the scaler does not run.
_NO_SCALER = 60.0
#: Lines that are there besides decisions.
_FIXED = 13
#: Of both at most so many, where nobody watches.
_INSTANCES, _DECISIONS = 20, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the last looks found."""

    url: str
    stats: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    #: what is wrong with the last look; empty: nothing
    trouble: str = ""
    #: when the service last answered; None: not yet
    answered: datetime | None = None


def screen(seen: Seen, *, now: datetime, width: int, height: int, unicode: bool = True) -> RenderableType:
    """At most ``height`` lines; the rest of a line that is too long is left out."""
    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(no_wrap=True, style="bold", width=min(12, max(6, width // 5)))
    rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for name, told in _rows(seen, width - 16, unicode=unicode):
        rows.add_row(name, told)
    decisions = (seen.history.get("decisions") or ())[:max(1, height - _FIXED)]
    for number, decision in enumerate(decisions):
        rows.add_row("Decisions" if not number else "", Text(
            f"{_clock(decision['at'])}  {decision['text']}", overflow="ellipsis", no_wrap=True))
    return Group(_head(seen, now, width), rows)


def lines(seen: Seen, said: str) -> Iterator[str]:
    """The same once, for whoever reads it on: no styles, no bars, nothing left out of a line.

    ``said``: whether the service is ready, in its own words.
    """
    rows = [("Service", f"{seen.url}: {said}"),
            *((name, told.plain) for name, told in _rows(seen, 2 * _INSTANCES, unicode=False)),
            *(("Decisions", f"{_clock(decision['at'])}  {decision['text']}")
              for decision in (seen.history.get("decisions") or ())[:_DECISIONS])]
    last = ""
    for name, told in rows:
        yield f"{'' if name == last else name:<12}  {told}".rstrip()
        last = name


def _head(seen: Seen, now: datetime, width: int) -> RenderableType:
    head = Text.from_markup(f"[bold]irs[/] {escape(seen.url)}  {now:%H:%M:%S} UTC  [dim]q ends[/]",
                            overflow="ellipsis")
    head.no_wrap = True
    lines: list[RenderableType] = [head]
    late = None if seen.answered is None else (now - seen.answered).total_seconds()
    if seen.trouble:
        since = "" if late is None else f", the last answer is {wording.seconds(late)} old"
        lines.append(Text(f"{seen.trouble}{since}; trying again", style="bold red", no_wrap=True,
                          overflow="ellipsis"))
    elif not seen.stats:
        lines.append(Text("asking…", style="dim"))
    else:
        lines.append(Text(""))
    return Group(*lines)


def _rows(seen: Seen, room: int, *, unicode: bool) -> Iterator[tuple[str, Text]]:
    stats = seen.stats
    if not stats:
        return
    queue, latency = stats.get("queue") or {}, stats.get("latency") or {}
    dead = queue.get("dead")
    waiting = Text(f"{queue.get('visible', '-')} waiting   {queue.get('in_flight', '-')} in flight   "
                   f"{queue.get('delayed', '-')} delayed   "
                   f"oldest {wording.seconds(queue.get('oldest_seconds'))}")
    yield "Queue", waiting
    yield "Dead letters", Text("not known" if dead is None else str(dead), style="bold red" if dead else "")
    yield from _fleet(stats.get("fleet"), room, unicode=unicode)
    web = stats.get("process")
    yield from _paces(seen.history, stats, room, unicode=unicode)
    yield "Wait", Text(_percentiles(latency, "wait"))
    yield "Model", Text(_percentiles(latency, "infer"))
    if cost := stats.get("cost"):
        yield "Dollars", _cost(cost)
    if web:
        yield "Web tier", Text(f"{web['waiting_clients']} of {web['max_waiting']} clients wait   "
                               f"{web['pending_jobs']} jobs pending   {web['lost_jobs']} lost")


def _fleet(fleet: Mapping[str, Any] | None, room: int, *, unicode: bool) -> Iterator[tuple[str, Text]]:
    if fleet is None:
        yield "Fleet", Text("no scaler runs", style="bold red")
        return
    instances: Sequence[Mapping[str, Any]] = fleet.get("instances") or ()
    row = Text(no_wrap=True, overflow="ellipsis")
    for instance in instances[:max(1, room // 2)]:
        shape, plain, style = _CELLS.get(str(instance["state"]), ("?", "?", ""))
        row.append(f"{shape if unicode else plain} ", style=style)
    row.append(wording.states(instances) + f" of {fleet['max']}")
    yield "Fleet", row
    if fleet["age_seconds"] > _NO_SCALER:
        yield "", Text(f"the scaler has not decided for {wording.seconds(fleet['age_seconds'])}",
                       style="bold red")


def _paces(history: Mapping[str, Any], stats: Mapping[str, Any], room: int, *,
           unicode: bool) -> Iterator[tuple[str, Text]]:
    web, last = stats.get("process"), wording.last_minute(history, stats["at"])
    told = "" if web is None else f"{web['results_per_second']:.1f} results/s through this web process"
    if last is None:
        yield "Pace", Text(told or "not known before a minute is over")
        return
    yield "Pace", Text(f"{wording.pace(last, history):.1f} images/s in the last minute   {told}")
    if unicode:
        images = [point["images"] for point in history["points"]]
        yield "", Text(wording.bars(images, min(60, room)), style="green")
    yield "Errors", Text(f"{last['failed']} of {last['images']} in the last minute",
                         style="bold red" if last["failed"] else "")


def _percentiles(latency: Mapping[str, Any], name: str) -> str:
    return (f"p50 {wording.seconds(latency.get(f'{name}_p50'))}   "
            f"p95 {wording.seconds(latency.get(f'{name}_p95'))}")


def _cost(cost: Mapping[str, Any]) -> Text:
    today, budget = cost.get("today_dollars"), cost.get("budget_per_day")
    text = f"{wording.dollars(today)} today"
    over = False
    if budget:
        text += f" of {wording.dollars(budget)}"
        over = today is not None and today > budget
        text += "" if today is None else f" ({today / budget:.0%})"
    text += (f"   {wording.dollars(cost['dollars_per_hour'])} an hour   "
             f"{wording.dollars(cost.get('dollars_per_1000_images'))} for 1,000 images")
    return Text(text, style="bold red" if over else "")


def _clock(stamp: str) -> str:
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%H:%M:%S")
