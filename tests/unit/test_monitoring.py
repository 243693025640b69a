"""Metrics, their documentation, rules and dashboard: each is held against what processes show."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from irs.settings import Settings
from tests.exposition import ITS_OWN, families, series, texts
from tests.services import program

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
#: Heading of docs/monitoring.md by job.
SECTIONS = {"irs-web": "The web tier", "irs-worker": "A worker", "irs-scaler": "The scaler"}
ROW = re.compile(r"^\| `(\w+)(?:\{([\w, ]+)\})?` \| (\w+) \|([^|]*)\|", flags=re.MULTILINE)
SECTION = re.compile(r"^#+ (.+)$", flags=re.MULTILINE)
#: Functions, aggregations and operators that our queries use.
PROMQL = {"and", "or", "absent", "avg", "avg_over_time", "changes", "histogram_quantile", "increase", "max",
          "min", "rate", "sum", "time"}
#: Grafana's names of units.
UNITS = {"none", "s", "ops", "reqps", "percentunit", "bytes", "currencyUSD"}


@pytest.fixture(scope="module")
def exposed() -> dict[str, str]:
    return texts()


# -- metrics ----------------------------------------------------------------------------------
@pytest.mark.parametrize("job", SECTIONS)
def test_the_exposition_keeps_prometheuss_conventions(exposed: dict[str, str], job: str) -> None:
    done = subprocess.run([program("promtool", package="prometheus"), "check", "metrics"], check=False,
                          input=exposed[job], text=True, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("job", SECTIONS)
def test_every_metric_is_documented_and_every_documented_one_is_there(
        exposed: dict[str, str], job: str) -> None:
    """With its type, its labels, and a unit that its name agrees with."""
    told = {}
    text = (ROOT / "docs/monitoring.md").read_text("utf-8")
    for heading in ("Every process", SECTIONS[job]):
        section = text.split(f"\n### {heading}\n")[1].split("\n### ")[0]
        for name, labels, kind, unit in ROW.findall(section):
            told[name] = (kind, frozenset(labels.split(", ")) - {""})
            for suffix in ("seconds", "bytes"):
                assert (unit.strip() == suffix) == bool(re.search(rf"_{suffix}(_total)?$", name)), name
    shown = {name: (family.type, frozenset(label for s in family.samples for label in s.labels) - {"le"})
             for name, family in families(exposed[job]).items()}
    assert told == shown


def test_documents_name_metrics_that_exist(exposed: dict[str, str]) -> None:
    there = set().union(*(series(text) | families(text).keys() for text in exposed.values()))
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        named = set(re.findall(r"(?<![\w.#])(irs_[a-z_]*[a-z])\b", path.read_text("utf-8")))
        assert named <= there, path.name


def test_counters_are_there_before_they_count(exposed: dict[str, str]) -> None:
    """A rate over a series that begins at 1 misses its first event."""
    late = {"irs_http_requests_total"}  # by route and code: as many as there are
    for text in exposed.values():
        for name, family in families(text).items():
            if family.type == "counter" and name not in late:
                assert family.samples, name


def test_no_figure_stands_for_an_unknown_one(exposed: dict[str, str]) -> None:
    from irs.metrics import known

    assert not list(known("irs_x", "x", None))
    assert not [s for text in exposed.values() for f in families(text).values()
                for s in f.samples if s.value < 0]


# -- rules ------------------------------------------------------------------------------------
def rules(name: str) -> list[dict[str, Any]]:
    text = (MONITORING / name).read_text("utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}


def promtool(*arguments: str | Path) -> str:
    """Run it where the rules are; fails the test where it says no."""
    done = subprocess.run([program("promtool", package="prometheus"), *arguments], check=False, text=True,
                          capture_output=True, timeout=100, cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("config", ["prometheus.yml", "prometheus-laptop.yml"])
def test_prometheus_takes_the_configuration_and_its_rules(config: str) -> None:
    assert "FAILED" not in promtool("check", "config", config)


def test_the_ways_in_comments_are_valid_too(tmp_path: Path) -> None:
    """Discovery by tags, a key: what somebody gets who takes the signs away."""
    text = (MONITORING / "prometheus.yml").read_text("utf-8")
    for way in ("authorization", "credentials_file", "ec2_sd_configs", "relabel_configs", "alertmanagers"):
        assert re.search(rf"^ *# .*{way}", text, flags=re.MULTILINE), way
    # A line of YAML is a comment's when it begins like one; prose begins with a capital letter.
    whole = re.sub(r"^( *)# ((?: *- | *)[a-z0-9_]+:.*|  .*)$", r"\1\2", text, flags=re.MULTILINE)
    for name in ("alerts.yml", "recording.yml"):
        (tmp_path / name).write_text((MONITORING / name).read_text("utf-8"))
    key = tmp_path / "irs-key"
    key.write_text("secret")
    path = tmp_path / "prometheus.yml"
    path.write_text(whole.replace("/etc/prometheus/irs-key", str(key)))
    found = {job["job_name"]: job for job in yaml.safe_load(path.read_text())["scrape_configs"]}
    assert found["irs-web"]["authorization"] == {"type": "Bearer", "credentials_file": str(key)}
    assert {"http_sd_configs", "ec2_sd_configs", "relabel_configs"} <= found["irs-worker"].keys()
    promtool("check", "config", path)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
    cases = yaml.safe_load((MONITORING / "alerts_test.yml").read_text("utf-8"))["tests"]
    asked = [look for case in cases for look in case["promql_expr_test"]]
    # Each look is at everything that fires, so that an alert is silent wherever it is not named.
    assert {look["expr"] for look in asked} == {'ALERTS{alertstate="firing"}'}
    fired = {name for look in asked for sample in look["exp_samples"]
             for name in re.findall(r'alertname="(\w+)"', sample["labels"])}
    assert fired == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_leads_to_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert all(rule["annotations"][part].strip().endswith(".") for part in ("summary", "description"))
    page, anchor = rule["annotations"]["runbook_url"].split("#")
    assert page == "docs/operations.md"
    section = SECTION.split((ROOT / page).read_text("utf-8"))
    told = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-"): text
            for heading, text in zip(section[1::2], section[2::2], strict=True)}
    assert anchor in told
    assert f"`{name}`" in told[anchor], "the heading names its alert"


# -- what they ask for ------------------------------------------------------------------------
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (MONITORING / "grafana/dashboards/irs.json").read_text("utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    found = {rule["alert"]: rule["expr"] for rule in rules("alerts.yml")}
    found |= {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
    found |= {f"panel {panel['title']} {target['refId']}": target["expr"]
              for panel in panels() for target in panel["targets"]}
    found |= {f"annotation {each['name']}": each["expr"] for each in dashboard()["annotations"]["list"]}
    return found


EXPRESSIONS = expressions()
RECORDED = {rule["record"] for rule in rules("recording.yml")}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_query_is_for_metrics_that_their_job_shows(exposed: dict[str, str], name: str) -> None:
    by_job = {job: series(text) for job, text in exposed.items()}
    everything = ITS_OWN.union(*by_job.values(), RECORDED)
    bare = EXPRESSIONS[name].replace("$__rate_interval", "5m")
    asked = re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", bare)
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without) \([^)]*\)", " ", bare)
    names = set(re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r"\b\d[\w.]*", " ", rest))) - PROMQL
    assert names | {metric for metric, _ in asked} <= everything
    for metric, labels in asked:
        for job in re.findall(r'job="([^"]+)"', labels):
            assert metric in by_job[job] | ITS_OWN, f"{metric} of {job}"


def test_every_panel_s_query_is_promql(tmp_path: Path) -> None:
    queries = [{"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
               for number, expression in enumerate(EXPRESSIONS.values())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": queries}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", path)


def test_the_dashboard_is_whole() -> None:
    found = dashboard()
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert variables.keys() == {"datasource", "cluster"}
    assert variables["datasource"]["type"] == "datasource"
    everywhere = found["panels"]
    assert len({panel["id"] for panel in everywhere}) == len(everywhere)
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert '=~"$cluster"' in target["expr"], panel["title"]


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                 for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_is_told_of_both() -> None:
    folder = MONITORING / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((folder / "dashboards/irs.yml").read_text())["providers"]
    path = Path(provider["options"]["path"].replace("$GF_PATHS_PROVISIONING", str(folder)))
    assert (path / "irs.json").exists()


def test_the_laptop_s_ports_are_those_of_its_three_lines() -> None:
    text = (ROOT / "docs/monitoring.md").read_text("utf-8")
    config = yaml.safe_load((MONITORING / "prometheus-laptop.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"][0]
               for job in config["scrape_configs"] if "static_configs" in job}
    port = Settings.model_fields["port"].default
    scaler = re.search(r"IRS_SCALER_METRICS_PORT=(\d+) IRS_WORKER_METRICS_PORT=0 make up", text)
    assert scaler
    assert targets == {"irs-web": f"127.0.0.1:{port}", "irs-scaler": f"127.0.0.1:{scaler[1]}"}
