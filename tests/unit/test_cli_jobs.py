"""`irs results`, `cancel`, `batch` and `completion` against a server that is told what to say."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from irs import cli
from tests.unit.httpkit import ID, Reply, Server, done, problem

OTHER = "0b8f3a52-9d0e-4b7e-8a53-2f1c6f0f9a22"
UNKNOWN: Reply = (404, {}, problem("unknown", "no such image"))
FAILED_JOB = {"schema": 1, "id": OTHER, "image": "b.jpg", "status": "failed",
              "error": {"code": "undecodable", "message": "broken"}}


def batch(status: str = "done", **counts: int) -> dict[str, Any]:
    every = {"queued": 0, "done": 1, "failed": 1, "cancelled": 0, **counts}
    return {"id": ID, "status": status, "total": sum(every.values()), "counts": every,
            **({"rate": 1.0} if every["queued"] else {"finished": "2026-11-22T21:30:00.123Z"})}


class Batches:
    """Answers as a service that has one batch, and no job."""

    def __init__(self, *states: dict[str, Any], results: tuple[dict[str, Any], ...] = ()) -> None:
        self.states = list(states)
        self.results = results

    def __call__(self, method: str, path: str, name: str) -> Reply:
        if path.endswith("/results"):
            return 200, {}, "".join(json.dumps(found | {"number": number}) + "\n"
                                    for number, found in enumerate(self.results))
        if not path.startswith("/v1/batches"):
            return UNKNOWN
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return (202 if method == "POST" else 200), {}, state


# -- results ----------------------------------------------------------------------------------
def test_results_of_jobs(server: Server) -> None:
    server.answer = lambda method, path, name: (
        (200, {}, done("a", "eel")) if path.endswith(ID) else (200, {}, FAILED_JOB))
    shown = server.irs("results", ID, OTHER)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (
        cli.FAILED, "(a, eel)\n", "(b, error: broken)\n")
    shown = server.irs("results", ID, "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["label"]) == (0, "eel")
    shown = server.irs("results", ID, OTHER, "--csv")
    assert [row["status"] for row in csv.DictReader(shown.stdout.splitlines())] == ["done", "failed"]


def test_a_job_that_is_not_ready(server: Server) -> None:
    queued = {"id": ID, "status": "queued", "estimate_seconds": 12.0}
    server.answer = lambda method, path, name: (200, {}, queued)
    shown = server.irs("results", ID)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (
        cli.FAILED, "", f"({ID}, queued, about 12 s)\n")
    assert json.loads(server.irs("results", ID, "--json").stdout)["status"] == "queued"


@pytest.mark.parametrize(("result", "code"), [(done("a", "eel"), 0), (FAILED_JOB, cli.FAILED)])
def test_a_job_is_waited_for(server: Server, result: dict[str, Any], code: int) -> None:
    server.answer = lambda method, path, name: (
        200, {}, {"id": ID, "status": "queued"} if len(server.seen) < 3 else result)
    shown = server.irs("results", ID, "--wait", "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["status"]) == (code, result["status"])


def test_results_of_a_batch(server: Server) -> None:
    server.answer = Batches(batch(), results=(done("a", "eel"), FAILED_JOB))
    shown = server.irs("results", ID)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (
        cli.FAILED, "(a, eel)\n", "(b, error: broken)\n")
    server.answer = Batches(batch(failed=0), results=(done("a", "eel"),))
    assert server.irs("results", ID).exit_code == 0
    server.answer = Batches(batch("running", queued=3), results=(
        done("a", "eel"), {"id": OTHER, "image": "b.jpg", "status": "queued"}))
    shown = server.irs("results", ID)
    assert shown.stdout == "(a, eel)\n"
    assert shown.stderr == f"(b, queued)\n{ID}: running, 5 images: 3 queued, 1 done, 1 failed\n"


def test_what_nobody_knows(server: Server) -> None:
    server.answer = lambda method, path, name: UNKNOWN
    for verb in ("results", "cancel"):
        shown = server.irs(verb, "nonsense")
        assert (shown.exit_code, shown.stderr) == (
            cli.FAILED, "(nonsense, error: no such job or batch)\n")
        assert json.loads(server.irs(verb, "nonsense", "--json").stdout)["status"] == "unknown"


def test_csv_or_json(server: Server) -> None:
    assert server.irs("results", ID, "--csv", "--json").exit_code == cli.CANNOT


@pytest.mark.parametrize("verb", ["results", "cancel", "status", "batch"])
def test_nothing_there_is_one_line(verb: str, pictures: list[str]) -> None:
    given = {"status": [], "batch": pictures}.get(verb, [ID])
    shown = CliRunner().invoke(cli.cli, [verb, "--url", "http://127.0.0.1:1", *given], prog_name="irs")
    assert shown.exit_code == cli.CANNOT
    (line,) = shown.stderr.splitlines()
    assert line.startswith("irs: nothing answers at http://127.0.0.1:1 (Connection refused); start the ")


# -- cancel -----------------------------------------------------------------------------------
def test_cancel_a_job(server: Server) -> None:
    ended = {"id": ID, "image": "a.jpg", "status": "cancelled"}
    server.answer = lambda method, path, name: (200, {}, ended if path.endswith(ID) else done("b", "eel"))
    assert (server.irs("cancel", ID).stdout, server.seen[0][:2]) == (
        f"{ID}: cancelled\n", ("DELETE", f"/v1/images/{ID}"))
    shown = server.irs("cancel", OTHER)
    assert (shown.exit_code, shown.stderr) == (cli.FAILED, f"{OTHER}: has its result: (b, eel)\n")
    assert json.loads(server.irs("cancel", ID, "--json").stdout)["ok"]


def test_cancel_a_batch(server: Server) -> None:
    server.answer = Batches(batch("cancelled", cancelled=3))
    shown = server.irs("cancel", ID)
    assert (shown.exit_code, shown.stdout) == (
        0, f"{ID}: cancelled, 5 images: 1 done, 1 failed, 3 cancelled\n")
    assert json.loads(server.irs("cancel", ID, "--json").stdout)["counts"]["cancelled"] == 3


# -- batch ------------------------------------------------------------------------------------
def test_a_batch_is_sent_and_named(server: Server, pictures: list[str], tmp_path: Path) -> None:
    server.answer = Batches(batch("running"))
    shown = server.irs("batch", str(tmp_path))
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, f"{ID}\n", "")
    assert server.seen[0][3].count(b"filename=") == 3
    assert json.loads(server.irs("batch", "--json", *pictures).stdout)["total"] == 2


@pytest.mark.parametrize(("given", "sent"), [
    (["s3://b/p/"], {"s3": "s3://b/p/"}), (["s3://b/1", "s3://b/2"], {"images": ["s3://b/1", "s3://b/2"]}),
])
def test_a_batch_in_s3(server: Server, given: list[str], sent: dict[str, Any]) -> None:
    server.answer = Batches(batch("listing"))
    assert server.irs("batch", *given).exit_code == 0
    assert json.loads(server.seen[0][3]) == sent


def test_a_batch_is_of_one_kind_and_not_empty(server: Server, pictures: list[str], tmp_path: Path) -> None:
    assert "not of both" in server.irs("batch", pictures[0], "s3://b/1").stderr
    (tmp_path / "empty").mkdir()
    assert "no images in" in server.irs("batch", str(tmp_path / "empty")).stderr
    assert server.seen == []


def test_a_batch_is_waited_for(server: Server, pictures: list[str]) -> None:
    server.answer = Batches(batch("running", queued=1), batch("running", queued=1), batch(), results=(
        done("a", "eel"), FAILED_JOB))
    shown = server.irs("batch", "--wait", *pictures)
    assert (shown.exit_code, shown.stdout) == (cli.FAILED, "(a, eel)\n")
    assert shown.stderr.splitlines() == [
        f"batch {ID}", "(b, error: broken)", f"{ID}: done, 2 images: 1 done, 1 failed"]


def test_a_batch_goes_to_a_file(server: Server, pictures: list[str], tmp_path: Path) -> None:
    server.answer = Batches(batch(failed=0), results=(done("a", "eel"),))
    out = tmp_path / "out.jsonl"
    shown = server.irs("batch", "--json", "--out", str(out), *pictures)
    assert (shown.exit_code, json.loads(shown.stdout)["status"]) == (0, "done")
    row = json.loads(out.read_text())
    assert (row["label"], row["file"]) == ("eel", pictures[0])


# -- completion -------------------------------------------------------------------------------
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_the_shells_own_script(shell: str) -> None:
    shown = CliRunner().invoke(cli.cli, ["completion", shell], prog_name="irs")
    assert shown.exit_code == 0
    assert "_IRS_COMPLETE" in shown.output
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=shown.output, text=True, check=True, timeout=30)


def test_completion_completes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_IRS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "irs cla")
    monkeypatch.setenv("COMP_CWORD", "1")
    shown = CliRunner().invoke(cli.cli, [], prog_name="irs")
    assert shown.output.strip() == "plain,classify"
