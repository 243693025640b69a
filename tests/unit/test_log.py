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
