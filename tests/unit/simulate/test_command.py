"""`irs simulate`, from the command line to the files it writes; small traces of its own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from irs import cli
from irs.simulate import command, policies
from irs.simulate.world import World


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.cli, ["simulate", *map(str, arguments)], prog_name="irs")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Ten minutes with a rush in the middle."""
    path = tmp_path / "small.csv.gz"
    rows = "\n".join(f"{second},{9 if 240 <= second < 300 else 1}" for second in range(600))
    path.write_bytes(gzip.compress(f"second,requests\n{rows}\n".encode()))
    return path


def test_the_table_has_the_bound_and_every_policy(trace: Path) -> None:
    done = run(trace)
    assert done.exit_code == 0, done.output
    head, columns, bound, *rows = done.stdout.strip().splitlines()
    assert head.startswith("small: ")
    assert columns.split()[0] == "policy"
    assert bound.startswith("lower bound (p95 <= 30 s)")
    assert [row.split()[0] for row in rows] == list(policies.POLICIES)


def test_the_same_seed_says_the_same_and_another_does_not(trace: Path) -> None:
    asked = (trace, "--policy", "keda", "--no-bound", "--peak", "3")
    first, second, other = run(*asked), run(*asked), run(*asked, "--seed", "1")
    assert first.stdout == second.stdout != other.stdout


def test_json_and_plot_are_written(trace: Path, tmp_path: Path) -> None:
    done = run(trace, "--synthetic", "burst", "--policy", "predictive", "--policy", "keda:queue_length=10",
               "--json", tmp_path / "o.json", "--plot", tmp_path / "o.png", "--wait", "45", "--lag", "6")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "o.json").read_text())
    assert [each["name"] for each in found["traces"]] == ["small", "burst-100"]
    assert found["wait"] == 45
    one = found["traces"][0]
    assert one["world"]["metric_lag"] == 6
    assert [each["policy"] for each in one["policies"]] == [
        "lower bound (p95 <= 45 s)", "predictive", "keda:queue_length=10"]
    assert all(each["ratio"] >= 1 for each in one["policies"])
    assert (tmp_path / "o.png").read_bytes()[:4] == b"\x89PNG"


def test_a_log_is_replayed_beside_what_it_cost(tmp_path: Path) -> None:
    log = tmp_path / "scaler.log"
    lines = [{"event": "scaler.decision", "timestamp": f"2026-03-01T08:{minute:02}:00+00:00", "visible": 0,
              "in_flight": 0, "pending": 0, "running": 4, "arrived": 60 * minute, "finished": 60 * minute,
              "service_seconds": 2.0, "boot_seconds": 20.0, "dry_run": False} for minute in range(31)]
    log.write_text("".join(json.dumps(each) + "\n" for each in lines))
    done = run("--from-log", log, "--policy", "predictive", "--no-bound", "--price", "2",
               "--json", tmp_path / "o.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "o.json").read_text())["traces"][0]
    assert (found["messages"], found["seconds"]) == (1800, 1800)
    assert (found["world"]["service_seconds"], found["world"]["boot_median"]) == (2.0, 20.0)
    recorded, replayed = found["policies"]
    assert recorded["policy"] == "as it ran"
    assert (recorded["instance_hours"], recorded["dollars"]) == (2.0, 4.0)
    assert replayed["unserved"] == 0
    assert "2.00 s an image, boot 20 s" in done.stdout


def test_the_fixed_fleet_is_for_the_peak_of_what_arrived(tmp_path: Path) -> None:
    """Not for the peak that traces are scaled to: neither a log nor `--peak 0` is."""
    path = tmp_path / "slow.csv"
    path.write_text("second,requests\n" + "".join(f"{second},2\n" for second in range(900)))
    done = run(path, "--peak", "0", "--policy", "fixed", "--no-bound", "--json", tmp_path / "o.json")
    assert done.exit_code == 0, done.output
    [fixed] = json.loads((tmp_path / "o.json").read_text())["traces"][0]["policies"]
    assert fixed["launches"] == 3  # 2 requests/s, and chance adds to the busiest minute


def test_what_the_command_line_says_of_the_world_is_in_it() -> None:
    asked = command.options(
        traces=(), synthetic=(), from_log=None, policy=(), wait=30.0, seed=0, peak=0, no_bound=True,
        service=0.5, boot=100.0, price=1.0, cap=7, lag=9.0, noise=0.1, outage=((5.0, 9.0),), crashes=600.0)
    assert asked.world == World(
        service_seconds=0.5, boot_median=100.0, boot_billed=76.0, price=1.0, cap=7, metric_lag=9.0,
        metric_noise=0.1, reports=True, outages=((5.0, 9.0),), crash_seconds=600.0)
    assert (asked.peak, asked.bound, asked.measured) == (None, False, False)


@pytest.mark.parametrize(("arguments", "says"), [
    ((), "name a trace file"),
    (("--synthetic", "sawtooth"), "no synthetic trace 'sawtooth'; there are burst"),
    (("--synthetic", "burst", "--policy", "magic"), "no policy 'magic'; there are predictive"),
    (("--synthetic", "burst", "--policy", "keda:length=1", "--no-bound"), "no such parameter among length"),
    (("--synthetic", "burst", "--policy", "keda:length"), "want name:parameter=number"),
    (("missing.csv",), "missing.csv"),
    (("--from-log", "missing.log"), "missing.log"),
])
def test_what_cannot_be_run_is_one_line_and_exit_code_2(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_file_that_is_no_trace_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("second,requests\n0,many\n")
    done = run(path)
    assert done.exit_code == 2
    assert "odd.csv, line 2" in done.output


def test_the_bar_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with command._bar() as said:
        said("anything", 0.5)
    assert capsys.readouterr() == ("", "")
