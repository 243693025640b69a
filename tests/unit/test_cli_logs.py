"""`irs logs`: files of either format merged by time, followed through cuts and restarts; CloudWatch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from irs import cli
from irs import settings as settings_module
from irs.aws import clients
from irs.cli import loglines, logsources
from irs.cli.loglines import Lines, Record
from irs.cli.logsources import Wanted
from irs.errors import NotFound
from irs.local import children, logfiles
from irs.settings import Settings
from tests.processes import ROOT
from tests.unit.httpkit import ID

EVERYTHING = Wanted(services=frozenset({"web", "scaler", "workers", "emulator"}), containing=None,
                    since=None, level="debug", lines=None)


def pretty(second: float, text: str, level: str = "info") -> str:
    return f"2026-11-25T18:00:{second:09.6f}Z [{level:<9}] {text}\n"


def structured(second: float, event: str, level: str = "info", **fields: Any) -> str:
    return json.dumps({"event": event, "level": level, "logger": "irs.web",
                       "timestamp": f"2026-11-25T18:00:{second:09.6f}Z", **fields}) + "\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a log of each kind; the working directory is the one above it."""
    made = tmp_path / ".irs"
    for path, text in {
        "logs/web.log": structured(1, "job.accepted", id=ID) + structured(4, "web.odd", why="a b"),
        "logs/scaler.log": pretty(2, "scaler.decision [irs.scaler] launch=1"),
        "logs/emulator.log": "",
        "logs/instances.log": pretty(2.5, "instance.booted [irs.instances] id=i-1"),
        "logs/other.log": pretty(1, "not ours"),
        "instances/i-1/console.log": "no time, first\n" + pretty(3, f"job.finished [irs.worker] id={ID}")
        + pretty(5, "job.gave_up [irs.worker]", "error") + "Traceback:\n  boom\n",
    }.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["logs", *arguments], prog_name="irs")


def texts(result: Result) -> list[str]:
    return [json.loads(line)["text"].partition(" ")[0].partition("\n")[0]
            for line in result.stdout.splitlines()]


# -- lines ------------------------------------------------------------------------------------
def test_a_line_in_either_format() -> None:
    lines = Lines("web", "web")
    (one,) = lines.feed(pretty(1.5, "web.listening [irs.web] url=http://x", "warning").encode())
    (two,) = lines.feed(structured(2, "job.failed", "error", id="7", why="a 'b'", exception=["x"]).encode())
    assert (one.level, loglines.stamp(one.at), one.text) == (
        "warning", "2026-11-25 18:00:01.500", "web.listening [irs.web] url=http://x")
    assert (two.level, two.text) == ("error", 'job.failed [irs.web] id=7 why="a \'b\'"\n    ["x"]')


def test_a_line_in_pieces_and_what_belongs_to_the_one_before() -> None:
    lines, data = Lines("web", "web"), (pretty(1, "a") + "Traceback\n  x\n" + pretty(2, "b")).encode()
    found = [record for at in range(len(data)) for record in lines.feed(data[at:at + 1])]
    assert [r.text for r in found] == ["a", "Traceback", "  x", "b"]
    assert [r.at.second for r in found] == [1, 1, 1, 2]
    assert [r.text for r in Lines("web", "web").feed(data)] == ["a\n    Traceback\n      x", "b"]


@pytest.mark.parametrize("odd", [
    "{", "{}", '{"event": 1}', '{"timestamp": "now", "event": "x", "level": "info"}',
    '{"timestamp": "2026-11-25T18:00:00", "event": "x", "level": "info"}', '{"a":' * 5000,
    "2026-13-45T99:00:00Z [info] x", "plain"])
def test_a_line_that_is_neither_is_shown_as_it_is(odd: str) -> None:
    (record,) = Lines("web", "web").feed(f"{odd}\n".encode())
    assert (record.text, record.level, record.at) == (odd, "info", loglines.START)


def test_a_terminal_obeys_no_line() -> None:
    (record,) = Lines("web", "web").feed(b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \xff\r\n")
    assert record.text == "red \ufffd]0;title\ufffd \ufffd"


# -- what is there ----------------------------------------------------------------------------
def test_all_by_time(state: Path) -> None:
    shown = run("--json")
    assert shown.exit_code == 0
    assert texts(shown) == ["no", "job.accepted", "scaler.decision", "instance.booted", "job.finished",
                            "web.odd", "job.gave_up"]
    last = json.loads(shown.stdout.splitlines()[-1])
    assert last == {"at": "2026-11-25T18:00:05.000Z", "service": "workers", "source": "i-1",
                    "level": "error", "text": "job.gave_up [irs.worker]\n    Traceback:\n      boom"}
    assert run("-n", "1").stdout == (
        "2026-11-25 18:00:05.000 i-1                 error    job.gave_up [irs.worker]\n"
        "    Traceback:\n      boom\n")


@pytest.mark.parametrize(("asked", "found"), [
    (("--service", "web"), ["job.accepted", "web.odd"]),
    (("--service", "web", "--service", "scaler"), ["job.accepted", "scaler.decision", "web.odd"]),
    (("--id", ID), ["job.accepted", "job.finished"]),
    (("--id", "i-1"), ["no", "instance.booted", "job.finished", "job.gave_up"]),
    (("--level", "error"), ["job.gave_up"]), (("--level", "WARNING"), ["job.gave_up"]),
    (("-n", "2"), ["web.odd", "job.gave_up"]),
    (("--since", "2026-11-25T18:00:04Z"), ["web.odd", "job.gave_up"]),
    (("--service", "workers", "--level", "info", "-n", "1"), ["job.gave_up"])])
def test_what_is_asked_for(state: Path, asked: tuple[str, ...], found: list[str]) -> None:
    shown = run("--json", *asked)
    assert (shown.exit_code, texts(shown)) == (0, found)


def test_nothing_of_it_is_a_no(state: Path) -> None:
    assert run("--id", "nobody").exit_code == cli.FAILED


def test_no_logs_at_all(tmp_path: Path) -> None:
    shown = run()
    assert shown.exit_code == cli.CANNOT
    (line,) = shown.stderr.splitlines()
    assert line == ("irs: no logs in .irs: start `irs up` here, or name the log group of a deployment with "
                    "IRS_LOG_GROUP")
    assert run("--service", "nobody").exit_code == cli.CANNOT


def test_a_log_that_was_cut_has_an_older_part(state: Path) -> None:
    (state / "logs/web.log.1").write_text(pretty(0, "older"))
    assert texts(run("--json", "--service", "web")) == ["older", "job.accepted", "web.odd"]


# -- what comes -------------------------------------------------------------------------------
@pytest.fixture
def follow(state: Path) -> Iterator[Callable[[], list[str]]]:
    """Gives what has come since the last call."""
    with logsources.of(settings_module.build({"state_dir": state}), EVERYTHING) as source:
        list(source.past())
        yield lambda: [record.text for record in source.fresh()]


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_what_comes_is_merged_by_time(state: Path, follow: Callable[[], list[str]]) -> None:
    assert follow() == []
    write(state / "logs/web.log", pretty(12, "second"))
    write(state / "logs/scaler.log", pretty(11, "first") + pretty(13, "third"))
    assert follow() == ["first", "second", "third"]
    assert follow() == []


def test_a_new_instance_is_followed_too(state: Path, follow: Callable[[], list[str]]) -> None:
    console = state / "instances/i-2/console.log"
    console.parent.mkdir()
    write(console, pretty(12, "booted"))
    assert follow() == ["booted"]


def test_a_log_that_is_cut_while_it_is_followed_loses_nothing(
        state: Path, follow: Callable[[], list[str]]) -> None:
    log = state / "logs/web.log"
    write(log, pretty(11, "one"))
    assert follow() == ["one"]
    write(log, pretty(12, "two") + pretty(13, "three"))
    children.trim(log, limit=1)
    write(log, pretty(14, "four"))
    assert follow() == ["two", "three", "four"]


def test_a_log_that_is_begun_anew_is_followed(state: Path, follow: Callable[[], list[str]]) -> None:
    """As `children.spawn` does for a service that is started again."""
    log = state / "logs/web.log"
    write(log, pretty(11, "last words"))
    log.replace(log.with_name("web.log.1"))
    assert follow() == ["last words"]
    write(log, pretty(12, "first words"))
    assert follow() == ["first words"]


def test_files_are_named_once(state: Path) -> None:
    assert [(file.service, file.source) for file in logfiles.found(state)] == [
        ("emulator", "emulator"), ("workers", "instances"), ("scaler", "scaler"), ("web", "web"),
        ("workers", "i-1")]


def test_following_goes_on_until_it_is_told_to_end(state: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "irs", "logs", "--follow", "-n", "1", "--json"], cwd=state.parent, text=True,
        stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        start_new_session=True)
    assert process.stdout is not None
    try:
        assert "job.gave_up" in process.stdout.readline()
        write(state / "logs/web.log", pretty(12, "news"))
        assert json.loads(process.stdout.readline())["text"] == "news"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == cli.INTERRUPTED
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


# -- CloudWatch -------------------------------------------------------------------------------
class Written:
    """A log group in moto."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._logs = clients.client(settings, "logs")
        self._logs.create_log_group(logGroupName=settings.log_group)
        self._streams: set[str] = set()

    def put(self, stream: str, *messages: str, ago: float = 5.0) -> None:
        if stream not in self._streams:
            self._logs.create_log_stream(logGroupName=self.settings.log_group, logStreamName=stream)
            self._streams.add(stream)
        at = int((time.time() - ago) * 1000)
        self._logs.put_log_events(logGroupName=self.settings.log_group, logStreamName=stream, logEvents=[
            {"timestamp": at + number, "message": message} for number, message in enumerate(messages)])


@pytest.fixture
def group(moto_cloud: Any, monkeypatch: pytest.MonkeyPatch) -> Written:
    fresh = moto_cloud.fresh()
    settings = moto_cloud.fresh(log_group=f"/irs/{fresh.cluster}")
    for name in ("aws_endpoint_url", "aws_access_key_id", "log_group"):
        monkeypatch.setenv(f"IRS_{name.upper()}", getattr(settings, name))
    monkeypatch.setenv("IRS_AWS_SECRET_ACCESS_KEY", "test")
    return Written(settings)


def test_a_log_group(group: Written) -> None:
    group.put("web/i-9", structured(1, "job.accepted", id=ID))
    group.put("workers/i-1", f"odd line of {ID}\n", "another", ago=4)
    group.put("i-2", "a bare stream", ago=3)
    shown = run("--json", "--since", "2026-01-01T00:00Z")
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(f["service"], f["source"]) for f in found] == [
        ("web", "i-9"), ("workers", "i-1"), ("workers", "i-1"), ("workers", "i-2")]
    assert found[0]["at"] == "2026-11-25T18:00:01.000Z"
    assert texts(run("--json", "--since", "2026-01-01T00:00Z", "--id", ID)) == ["job.accepted", "odd"]
    assert texts(run("--json", "--service", "web", "--since", "2026-01-01T00:00Z")) == ["job.accepted"]
    assert texts(run("--json", "--since", "2026-01-01T00:00Z", "--id", "i-1")) == ["odd", "another"]
    assert run("--json", "--since", "2026-01-01T00:00Z", "--id", "i-1", "--service", "web").stdout == ""
    assert texts(run("--json", "-n", "1")) == ["a"]


def test_a_log_group_is_followed_and_no_event_told_twice(group: Written) -> None:
    group.put("web/i-9", "one")
    with logsources.of(group.settings, EVERYTHING) as source:
        assert [r.text for r in source.past()] == ["one"]
        assert [r.text for r in source.fresh()] == []
        # CloudWatch shows it late: its time is before that of what was seen.
        group.put("scaler/x", "two", ago=10)
        group.put("web/i-9", "three", ago=1)
        assert [r.text for r in source.fresh()] == ["two", "three"]
        assert [r.text for r in source.fresh()] == []


def test_what_is_older_than_an_hour_is_not_asked_for(group: Written) -> None:
    group.put("web/i-9", "old", ago=7200)
    group.put("web/i-9", "new", ago=10)
    assert texts(run("--json")) == ["new"]


def test_a_group_that_is_not_there(group: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRS_LOG_GROUP", "/irs/nobody")
    shown = run()
    assert shown.exit_code == cli.CANNOT
    assert shown.stderr.startswith("irs: CloudWatch Logs group /irs/nobody: ")
    with pytest.raises(NotFound), logsources.of(settings_module.build(), EVERYTHING) as source:
        list(source.past())


# -- the journal, shipped ---------------------------------------------------------------------
@pytest.mark.parametrize(("arguments", "group", "why"), [
    (["--service", "web"], "", "irs: IRS_LOG_GROUP: name the log group of CloudWatch to ship to, such as "
                               "/irs/irs"),
    (["--service", "web"], "/irs/a", "irs: instance metadata: Connection refused: where this is no "
                                     "EC2 instance, --machine names it"),
    (["--service", "emulator"], "/irs/a", "Error: Invalid value for '--service': 'emulator' is not one of "
                                          "'web', 'scaler', 'workers'.")])
def test_who_ships_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch, arguments: list[str],
                                           group: str, why: str) -> None:
    monkeypatch.setenv("IRS_LOG_GROUP", group)
    monkeypatch.setenv("IRS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    shown = run("ship", *arguments)
    assert (shown.exit_code, shown.stderr.splitlines()[-1]) == (cli.CANNOT, why)


def test_what_is_asked_of_reading_says_nothing_to_shipping() -> None:
    shown = run("--follow", "ship", "--service", "web")
    assert (shown.exit_code, shown.stderr.splitlines()[-1]) == (
        cli.CANNOT, "Error: `irs logs ship` takes none of the options of `irs logs`")


def test_levels_have_an_order() -> None:
    at = datetime.now(UTC) - timedelta(seconds=1)
    record = Record(at=at, service="web", source="web", level="notice", text="x")
    assert record.least("info")
    assert not record.least("warning")
