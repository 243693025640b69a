"""A bar on stderr, with the pace and what is left, and the line at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Images from which a bar is worth its flicker.
MANY = 5


@dataclass(kw_only=True, slots=True)
class Tally:
    """How many, and how fast."""

    done: int = 0
    failed: int = 0
    #: rows that were there already, and those of them without a label
    skipped: int = 0
    unlabelled: int = 0
    began: float = field(default_factory=time.monotonic)

    def count(self, *, ok: bool) -> None:
        """One more."""
        self.done += ok
        self.failed += not ok

    @property
    def seen(self) -> int:
        """Images that need no more work."""
        return self.done + self.failed + self.skipped

    @property
    def ok(self) -> bool:
        """Whether every image has a label."""
        return not (self.failed or self.unlabelled)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def rate(self) -> float:
        """Images a second."""
        return (self.done + self.failed) / max(self.seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"done": self.done, "failed": self.failed, "skipped": self.skipped,
                "skipped_failed": self.unlabelled, "seconds": round(self.seconds, 3),
                "images_per_second": round(self.rate, 1)}

    def __str__(self) -> str:
        without = f", {self.unlabelled} of them failed" if self.unlabelled else ""
        skipped = f", {self.skipped} were there already{without}" if self.skipped else ""
        return (f"{self.done} done, {self.failed} failed{skipped}, {self.seconds:.1f} s, "
                f"{self.rate:.1f} images/s")


class Advance(Protocol):
    """Moves a bar to a count."""

    def __call__(self, count: int, rate: float, total: int | None = None) -> object:
        """``rate`` in images a second; ``total`` where it has grown."""


@contextlib.contextmanager
def bar(total: int) -> Iterator[Advance]:
    """Shown for several images at a terminal; yields what moves it."""
    if total < MANY or not sys.stderr.isatty():
        yield lambda count, rate, total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # Lines that go to the same terminal are drawn above the bar; lines that go to a file
    # must not pass through rich, which would send them to the terminal.
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as shown:
        task = shown.add_task("", total=total, pace="")
        yield lambda count, rate, total=None: shown.update(
            task, completed=count, total=total, pace=f"{rate:.1f}/s")
