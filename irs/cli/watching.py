"""`irs status --watch`: looks in a thread, shows in a terminal or as lines, ends at a key."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.live import Live

from irs.cli import wording
from irs.cli.base import INTERRUPTED
from irs.cli.screen import Seen, screen
from irs.cli.service import connected
from irs.client import Client, ClientError, NotFound

#: Seconds between looks at the history, which is written once a minute.
HISTORY = 10.0
#: Seconds between two drawings: a terminal that is made wider is filled at once.
DRAW = 0.25


class Looks:
    """Asks every ``every`` seconds in a thread: an answer that does not come holds up no key."""

    def __init__(self, client: Client, every: float) -> None:
        self._client, self._every = client, every
        self._seen = Seen(url=client.url)
        self._due = 0.0
        self._stop = threading.Event()
        #: set with each look
        self.news = threading.Event()
        threading.Thread(target=self._run, name="looks", daemon=True).start()

    @property
    def seen(self) -> Seen:
        """What there is."""
        return self._seen

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self.news.set()
            self._stop.wait(self._every)

    def _look(self) -> None:
        try:
            stats = self._client.stats()
            self._due -= self._every
            if self._due <= 0:
                self._seen = replace(self._seen, history=self._history())
                self._due = HISTORY
        except ClientError as exc:
            self._due = 0.0
            self._seen = replace(self._seen, trouble=str(exc))
        else:
            self._seen = replace(self._seen, stats=stats, trouble="", answered=datetime.now(UTC))

    def _history(self) -> dict[str, object]:
        try:
            return dict(self._client.history(60))
        except NotFound:  # an older service
            return {}


def watch(url: str | None, every: float) -> int:
    """Until q, Ctrl-C or SIGTERM; the exit code."""
    with connected(url, retries=0) as client:
        looks = Looks(client, every)
        try:
            if sys.stdout.isatty():
                return _show(looks)
            return _tell(looks)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            looks.stop()


def _show(looks: Looks) -> int:
    console = Console()
    unicode = console.encoding.lower().startswith("utf")

    def drawn() -> object:
        return screen(looks.seen, now=datetime.now(UTC), width=console.width, height=console.height,
                      unicode=unicode)

    # Told to end it leaves the terminal as it was.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Live(get_renderable=drawn, console=console, screen=True, auto_refresh=False) as live, \
            _keys() as pressed:
        while pressed(DRAW) not in ("q", "Q", "\x04"):
            live.refresh()
    return 0


def _tell(looks: Looks) -> int:
    """A line a look, for a file or a pipe; ends only by a signal, or when nobody reads."""
    while True:
        looks.news.wait()
        looks.news.clear()
        seen, now = looks.seen, f"{datetime.now(UTC):%H:%M:%S}"
        told = f"{seen.trouble}; trying again" if seen.trouble else wording.line(seen.stats, seen.history)
        click.echo(f"{now} {told}")


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Gives what waits so many seconds for a key, and returns it or nothing."""
    if not sys.stdin.isatty():
        # Nobody types; a pipe that has ended would be ready all the time.
        never = threading.Event()

        def nothing(wait: float) -> str:
            never.wait(wait)
            return ""

        yield nothing
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(wait: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], wait)
        return os.read(descriptor, 1).decode("ascii", "replace") if ready else ""

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
