"""`irs workers`, `irs queue` and `irs status` against a server that is told what to say."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from irs import cli
from irs.cli import wording
from irs.cli.screen import Seen, screen
from tests.processes import ROOT, until
from tests.unit.httpkit import ID, Reply, Server, problem

NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)
UNKNOWN: Reply = (404, {}, problem("not_found", "no such route"))


def instance(number: int, state: str, *, reported: float = 5, **more: Any) -> dict[str, Any]:
    return {"id": f"i-{number}", "name": f"AppTier-Instance-{number}", "state": state,
            "launched_at": "2026-11-22T21:00:00.000Z", "age_seconds": 1800.0, "images": 1200, "running": 0,
            "reported_at": (NOW - timedelta(seconds=reported)).isoformat(), **more}


def stats(**more: Any) -> dict[str, Any]:
    return {
        "at": NOW.isoformat(),
        "queue": {"visible": 140, "in_flight": 12, "delayed": 0, "oldest_seconds": 3.24, "dead": 2},
        "fleet": {"at": NOW.isoformat(), "age_seconds": 2.0, "running": 2, "max": 19, "instances": [
            instance(1, "busy", running=8), instance(2, "idle"), instance(3, "booting", reported_at=None),
            instance(4, "busy", reported=90, running=1), instance(5, "draining"), instance(6, "stopped")]},
        "latency": {"wait_p50": 0.82, "wait_p95": 3.1, "infer_p50": 0.0213, "infer_p95": None},
        "process": {"waiting_clients": 3, "max_waiting": 400, "pending_jobs": 16, "lost_jobs": 0,
                    "results_per_second": 8.2},
        "cost": {"dollars_per_hour": 0.2, "instance_price": 0.1, "budget_per_day": 5.0,
                 "today_dollars": 1.25, "today_images": 81_200, "dollars_per_1000_images": 0.0154}, **more}


def history(*images: int) -> dict[str, Any]:
    return {"step_seconds": 60, "points": [
        {"at": (NOW - timedelta(minutes=len(images) - place)).isoformat(), "images": n, "failed": n // 100}
        for place, n in enumerate(images)],
            "decisions": [{"at": (NOW - timedelta(minutes=n)).isoformat(),
                           "text": f"queue 140, need 5, have 2: launching {n}"} for n in range(50)]}


LETTERS = {"total": 30, "partial": False, "letters": [
    {"id": ID, "job": True, "status": "failed", "error": {"code": "dead_letter", "message": "cut off"}},
    {"id": "m-1", "job": False, "status": None, "error": None}]}


class Service:
    """Answers as a whole one."""

    def __init__(self) -> None:
        self.stats: Reply = (200, {}, stats())
        self.letters: Reply = (200, {}, LETTERS)

    def __call__(self, method: str, path: str, name: str) -> Reply:
        return {"/v1/stats": self.stats, "/v1/stats/history": (200, {}, history(600, 1200)),
                "/v1/dead-letters": self.letters}.get(path, UNKNOWN)


@pytest.fixture
def service(server: Server) -> Service:
    found = Service()
    server.answer = found
    return found


# -- workers ----------------------------------------------------------------------------------
def test_workers(server: Server, service: Service) -> None:
    shown = server.irs("workers")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "instance  name                state            age  images  running  does",
        "i-1       AppTier-Instance-1  busy      30 min 0 s   1,200        8  classifies 8",
        "i-2       AppTier-Instance-2  idle      30 min 0 s   1,200        0  waits for work",
        "i-3       AppTier-Instance-3  booting   30 min 0 s   1,200        0  boots",
        "i-4       AppTier-Instance-4  busy      30 min 0 s   1,200        1  has been silent for 90 s",
        "i-5       AppTier-Instance-5  draining  30 min 0 s   1,200        0  finishes what it has",
        "i-6       AppTier-Instance-6  stopped   30 min 0 s   1,200        0  is kept for later"]
    told = json.loads(server.irs("workers", "--json").stdout)
    assert (told["ok"], len(told["instances"])) == (True, 6)


def test_workers_of_nobody(server: Server, service: Service) -> None:
    service.stats = (200, {}, stats(fleet=None))
    shown = server.irs("workers")
    assert (shown.exit_code, shown.stdout) == (cli.FAILED, "")
    assert "no scaler runs" in shown.stderr
    assert json.loads(server.irs("workers", "--json").stdout) == {"ok": False, "at": None, "instances": []}
    service.stats = (200, {}, stats(fleet=stats()["fleet"] | {"age_seconds": 200.0, "instances": []}))
    shown = server.irs("workers")
    assert (shown.exit_code, shown.stdout) == (cli.FAILED, "no instances\n")
    assert shown.stderr == "the scaler has not looked for 3 min 20 s\n"


# -- queue ------------------------------------------------------------------------------------
def test_queue(server: Server, service: Service) -> None:
    shown = server.irs("queue", "--letters", "2")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        "waiting            140  (the oldest for 3.2 s)",
        "in flight           12",
        "delayed              0",
        "dead letters         2",
        f"  {ID}  dead_letter: cut off",
        "  m-1  not a task of ours",
        "  … and 28 more; --letters lists up to 500",
        "irs redrive ID… sends them back when the cause is mended, irs redrive --all every one"]
    assert [seen[1] for seen in server.seen] == ["/v1/stats", "/v1/dead-letters?limit=2"]
    told = json.loads(server.irs("queue", "--json").stdout)
    assert (told["visible"], told["letters"][0]["id"], told["why"]) == (140, ID, None)


def test_an_empty_queue_asks_for_no_letters(server: Server, service: Service) -> None:
    service.stats = (200, {}, stats(queue={
        "visible": 0, "in_flight": 0, "delayed": 0, "oldest_seconds": None, "dead": 0}))
    shown = server.irs("queue")
    assert shown.stdout.splitlines() == ["waiting              0", "in flight            0",
                                         "delayed              0", "dead letters         0"]
    assert [seen[1] for seen in server.seen] == ["/v1/stats"]


@pytest.mark.parametrize("answer", [UNKNOWN, (403, {}, problem("forbidden", "operators alone"))])
def test_letters_that_one_may_not_see(server: Server, service: Service, answer: Reply) -> None:
    service.letters = answer
    shown = server.irs("queue")
    assert (shown.exit_code, "dead letters         2" in shown.stdout) == (0, True)
    assert shown.stderr.startswith("  which they are is not told: ")
    assert json.loads(server.irs("queue", "--json").stdout)["why"]


# -- words ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("value", "text"), [
    (None, "-"), (0, "0 s"), (0.0213, "21.3 ms"), (0.9999, "1 s"), (3.24, "3.2 s"), (42.4, "42 s"),
    (90, "90 s"), (99.7, "1 min 40 s"), (250, "4 min 10 s"), (3599.7, "1 h 0 min"), (7500, "2 h 5 min"),
    (273_600, "3 d 4 h")])
def test_seconds_in_words(value: float | None, text: str) -> None:
    assert wording.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [
    (None, "-"), (0, "$0.00"), (3.1, "$3.10"), (0.00381, "$0.0038")])
def test_dollars_in_words(value: float | None, text: str) -> None:
    assert wording.dollars(value) == text


def test_bars() -> None:
    assert wording.bars([1, 0, 4, 8], 10) == "▂ ▅█"
    assert wording.bars([9, 9, 1, 8], 2) == "▂█"
    assert (wording.bars([], 5), wording.bars([0], 5), wording.bars([1], 0)) == ("", " ", "")


# -- status -----------------------------------------------------------------------------------
def test_status_is_the_screen_once(server: Server) -> None:
    server.answer = lambda method, path, name: (
        200, {}, {"/v1/stats": stats(), "/v1/stats/history": history(60, 600)}.get(path, "ready\n"))
    shown = server.irs("status")
    assert (shown.exit_code, shown.stdout.splitlines()) == (0, [
        f"Service       {server.url}: ready",
        "Queue         140 waiting   12 in flight   0 delayed   oldest 3.2 s",
        "Dead letters  2",
        "Fleet         # _ o # v . 1 booting, 1 idle, 2 busy, 1 draining, 1 stopped of 19",
        "Pace          10.0 images/s in the last minute   8.2 results/s through this web process",
        "Errors        6 of 600 in the last minute",
        "Wait          p50 820 ms   p95 3.1 s",
        "Model         p50 21.3 ms   p95 -",
        "Dollars       $1.25 today of $5.00 (25%)   $0.20 an hour   $0.015 for 1,000 images",
        "Web tier      3 of 400 clients wait   16 jobs pending   0 lost",
        "Decisions     21:30:00  queue 140, need 5, have 2: launching 0",
        *(f"              21:{30 - n}:00  queue 140, need 5, have 2: launching {n}" for n in range(1, 5))])
    told = json.loads(server.irs("status", "--json").stdout)
    assert (told["ok"], told["queue"]["visible"]) == (True, 140)


def test_status_of_an_older_service_has_no_history(server: Server) -> None:
    server.answer = lambda method, path, name: {
        "/v1/stats/history": UNKNOWN, "/v1/stats": (200, {}, stats())}.get(path, (200, {}, "ready\n"))
    shown = server.irs("status")
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, f"Service       {server.url}: ready")
    assert "Decisions" not in shown.stdout


def test_status_of_a_service_that_is_not_ready_and_has_no_statistics(server: Server) -> None:
    server.answer = lambda method, path, name: (
        UNKNOWN if path == "/v1/stats" else (503, {}, "not ready: stopping\n"))
    shown = server.irs("status")
    assert (shown.exit_code, shown.stdout) == (
        cli.FAILED, f"Service       {server.url}: not ready: stopping; it gives no statistics\n")


# -- the screen -------------------------------------------------------------------------------
def drawn(seen: Seen, width: int = 100, height: int = 24, *, unicode: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(screen(seen, now=NOW, width=width, height=height, unicode=unicode))
    return [line.rstrip() for line in out.getvalue().splitlines()]


SEEN = Seen(url="http://h:1", stats=stats(), history=history(600, 0, 1200), answered=NOW)


def test_a_screen() -> None:
    lines = drawn(SEEN)
    assert lines[:13] == [
        "irs http://h:1  21:30:00 UTC  q ends",
        "",
        "Queue         140 waiting   12 in flight   0 delayed   oldest 3.2 s",
        "Dead letters  2",
        "Fleet         ■ □ ◌ ■ ▼ · 1 booting, 1 idle, 2 busy, 1 draining, 1 stopped of 19",
        "Pace          20.0 images/s in the last minute   8.2 results/s through this web process",
        "              ▅ █",
        "Errors        12 of 1200 in the last minute",
        "Wait          p50 820 ms   p95 3.1 s",
        "Model         p50 21.3 ms   p95 -",
        "Dollars       $1.25 today of $5.00 (25%)   $0.20 an hour   $0.015 for 1,000 images",
        "Web tier      3 of 400 clients wait   16 jobs pending   0 lost",
        "Decisions     21:30:00  queue 140, need 5, have 2: launching 0"]
    assert lines[13] == "              21:29:00  queue 140, need 5, have 2: launching 1"


@pytest.mark.parametrize(("width", "height"), [(40, 10), (40, 24), (60, 14), (200, 60), (100, 24), (20, 5)])
def test_it_fits(width: int, height: int) -> None:
    lines = drawn(SEEN, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 14)


def test_without_unicode_and_colour_it_says_the_same() -> None:
    text = "\n".join(drawn(SEEN, unicode=False))
    assert "# _ o # v . 1 booting" in text
    assert text.replace("…", "").isascii()


def test_what_is_wrong_is_said() -> None:
    late = Seen(url="u", stats=stats(fleet=stats()["fleet"] | {"age_seconds": 200.0}), trouble="no answer",
                answered=NOW - timedelta(seconds=12))
    lines = drawn(late)
    assert lines[1] == "no answer, the last answer is 12 s old; trying again"
    assert "              the scaler has not decided for 3 min 20 s" in lines
    assert drawn(Seen(url="u"))[1] == "asking…"
    assert drawn(Seen(url="u", trouble="no answer"))[1] == "no answer; trying again"
    assert "Fleet         no scaler runs" in drawn(Seen(url="u", stats=stats(fleet=None)))
    assert "Dead letters  not known" in drawn(Seen(url="u", stats=stats(queue={"dead": None})))


def test_an_old_minute_is_not_the_last_one() -> None:
    later = (NOW + timedelta(minutes=10)).isoformat()
    lines = drawn(Seen(url="u", stats=stats(at=later), history=history(600)))
    assert "Pace          8.2 results/s through this web process" in lines
    assert not [line for line in lines if line.startswith("Errors")]
    assert " · - · " in wording.line(stats(at=later), history(600))


def test_a_names_markup_is_not_obeyed() -> None:
    odd = {"decisions": [{"at": NOW.isoformat(), "text": "[red]queue[/nonsense]"}]}
    seen = Seen(url="[u]", stats=stats(), history=odd)
    assert "Decisions     21:30:00  [red]queue[/nonsense]" in drawn(seen)


# -- watching ---------------------------------------------------------------------------------
def command(server: Server, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "irs", "status", "--watch", "--every", "0.1", "--url", server.url,
            *arguments]


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color",
            "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, arguments: list[str], columns: int = 100, rows: int = 30) -> None:
        self._master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.resize(columns, rows)
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave,
                                        env=environment(), start_new_session=True)
        self._slave = slave
        self.text = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def says(self, pattern: str) -> bool:
        while select.select([self._master], [], [], 0.05)[0]:
            self.text += os.read(self._master, 65_536).decode("utf-8", "replace")
        return re.search(pattern, self.text) is not None

    def type(self, key: bytes) -> None:
        os.write(self._master, key)

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was: its modes, its first screen, its cursor."""
        self.says("never")
        return (termios.tcgetattr(self._slave) == self.before
                and self.text.rfind("\x1b[?1049l") > self.text.rfind("\x1b[?1049h")
                and self.text.rfind("\x1b[?25h") > self.text.rfind("\x1b[?25l"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(*arguments: Any, **more: Any) -> Terminal:
        made.append(Terminal(*arguments, **more))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize(("end", "code"), [
    (lambda shown: shown.type(b"q"), 0), (lambda shown: shown.process.send_signal(signal.SIGINT), 130),
    (lambda shown: shown.process.terminate(), 143)], ids=["q", "Ctrl-C", "SIGTERM"])
def test_a_terminal_is_watched_and_left_as_it_was(
        server: Server, service: Service, terminal: Callable[..., Terminal], end: Any, code: int) -> None:
    shown = terminal(command(server))
    until(lambda: shown.says("140 waiting"))
    # What changes is seen.
    service.stats = (200, {}, stats(queue={"visible": 77, "in_flight": 0, "delayed": 0, "dead": 0}))
    until(lambda: shown.says("77 waiting"))
    end(shown)
    assert shown.process.wait(20) == code
    assert shown.restored


def test_another_size_is_another_screen(
        server: Server, service: Service, terminal: Callable[..., Terminal]) -> None:
    shown = terminal(command(server), columns=50, rows=12)
    until(lambda: shown.says("140 waiting"))
    assert "launching 7" not in shown.text
    shown.resize(120, 40)
    until(lambda: shown.says("launching 7"))


def test_a_service_that_goes_and_comes_is_waited_for(
        server: Server, service: Service, terminal: Callable[..., Terminal]) -> None:
    shown = terminal(command(server))
    until(lambda: shown.says("140 waiting"))
    service.stats = (503, {}, problem("unavailable", "cannot reach its storage"))
    until(lambda: shown.says("cannot reach its storage.*trying again"))
    service.stats = (200, {}, stats(queue={"visible": 99, "in_flight": 0, "delayed": 0, "dead": 0}))
    until(lambda: shown.says("99 waiting"))
    assert shown.process.poll() is None


def test_where_nobody_looks_it_is_a_line_a_look(server: Server, service: Service) -> None:
    process = subprocess.Popen(command(server), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                               env=environment(), start_new_session=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    for line in lines:
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d queue 140 waiting, 12 in flight, oldest 3\.2 s · 1 booting, 1 idle, 2 busy, "
            r"1 draining, 1 stopped · 20\.0 images/s · wait p95 3\.1 s, model p95 - · dead letters 2 · "
            r"\$1\.25 today\n", line)


def test_nobody_answers_from_the_beginning() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "irs", "status", "--watch", "--every", "0.1", "--url", "http://127.0.0.1:9"],
        stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
    assert process.stdout is not None
    try:
        for _ in range(3):
            assert "nothing answers at http://127.0.0.1:9 (Connection refused); trying again" in (
                process.stdout.readline())
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_watch_is_for_people(server: Server) -> None:
    assert server.irs("status", "--watch", "--json").exit_code == cli.CANNOT
    assert server.irs("status", "--watch", "--every", "0").exit_code == cli.CANNOT


