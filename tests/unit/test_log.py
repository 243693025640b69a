"""One event a line, with stable names and fields."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from irs import log


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == "", "logs belong on stderr"
    return [json.loads(line) for line in captured.err.splitlines()]


def test_our_line_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    log.get("web").info("job.accepted", id="7f3c", size=3)
    (line,) = _lines(capsys)
    moment = line.pop("timestamp")
    assert line == {"event": "job.accepted", "level": "info", "logger": "irs.web", "id": "7f3c", "size": 3}
    assert datetime.fromisoformat(moment).utcoffset() is not None
    assert moment.endswith("Z")


def test_a_library_line_has_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    logging.getLogger("celery.worker").warning("lost %s", "it")
    (line,) = _lines(capsys)
    assert {k: line[k] for k in ("event", "level", "logger")} == {
        "event": "lost it", "level": "warning", "logger": "celery.worker"}


def test_an_exception_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    try:
        int("broken")
    except ValueError:
        log.get("worker").exception("task.crashed")
    (line,) = _lines(capsys)
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["level"] == "error"


def test_levels_hold_for_ours_and_for_the_noisy(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    log.get("web").debug("hidden")
    logging.getLogger("botocore.retries").info("hidden")
    logging.getLogger("botocore.retries").warning("shown")
    assert [line["event"] for line in _lines(capsys)] == ["shown"]
    log.configure("ERROR", "json")
    log.get("web").warning("hidden")
    logging.getLogger("botocore.retries").warning("hidden")
    assert _lines(capsys) == []


def test_configuring_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    log.configure("INFO", "json")
    log.get("web").info("once")
    assert len(_lines(capsys)) == 1


def test_pretty_is_readable_and_without_colours_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "pretty")
    log.get("web").info("job.accepted", id="7f3c")
    said = capsys.readouterr().err
    assert "job.accepted" in said
    assert "id=7f3c" in said
    assert "\x1b" not in said
    assert not sys.stderr.isatty()


#: What somebody may send: ends of lines of every kind, terminal commands, and turned writing.
FORGED = ("x\n2026-11-25T00:00:00Z [info     ] job.finished [irs.worker] id=7f3c"
          "\r\x0b\x85\u2028\x1b[2J\x9b\u202e")


@pytest.mark.parametrize("fmt", ["json", "pretty"])
def test_nobody_s_words_make_a_line_or_write_to_the_terminal(
        fmt: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", fmt)

    class Odd:
        def __repr__(self) -> str:
            return FORGED

    log.get("web").info("job.accepted", id="1", why=FORGED, many=[FORGED], other=Odd(), plain="\n")
    logging.getLogger("waitress").warning("odd request: %s", FORGED)
    logging.getLogger("waitress").warning(FORGED)
    with log.about(id=FORGED):
        log.get("web").info("job.answered")
    said = capsys.readouterr().err
    assert said.isascii()
    assert len(said.split("\n")) == 5
    assert not set("\r\x0b\x1b") & set(said)
    if fmt == "json":
        first, second, *_, last = [json.loads(line) for line in said.splitlines()]
        assert first["why"] == last["id"] == FORGED
        assert second["event"].endswith(FORGED)


@pytest.mark.parametrize("fmt", ["json", "pretty"])
def test_no_line_of_a_traceback_begins_as_an_event_does(
        fmt: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", fmt)
    secret = "in a variable"

    def broken() -> None:
        raise ValueError(FORGED) from KeyError(FORGED)

    try:
        broken()
    except ValueError:
        log.get("worker").exception("task.crashed", stack_info=True)
        logging.getLogger("celery").exception("theirs")
    said = capsys.readouterr().err
    assert said.isascii()
    assert secret not in said
    if fmt == "json":
        assert [line["level"] for line in map(json.loads, said.splitlines())] == ["error", "error"]
    else:
        lines = said.splitlines()
        assert [line for line in lines if line and not line.startswith("    ")] == [
            line for line in lines if "[error" in line]
        assert sum("Traceback" in line for line in lines) >= 2
        assert "job.finished" in said


def test_warnings_of_python_s_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    log.configure("INFO", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("you are root", stacklevel=1)
    (line,) = _lines(capsys)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "you are root" in line["event"]


def test_every_line_of_a_thread_that_works_on_a_job_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "json")
    with log.about(id="7f3c"):
        log.get("worker").info("worker.decode_left")
        logging.getLogger("PIL").warning("theirs")
        log.get("worker").info("job.finished", id="another")
    log.get("worker").info("worker.stopped")
    assert [line.get("id") for line in _lines(capsys)] == ["7f3c", "7f3c", "another", None]
