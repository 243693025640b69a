"""The dashboard's page, as it is before its script runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from irs import errors
from irs.web import dashboard, figures, wording

NOW = datetime(2026, 11, 25, 18, 0, tzinfo=UTC)


def minute(ago: int, **more):
    at = (NOW - timedelta(minutes=ago)).isoformat().replace("+00:00", "Z")
    return {"at": at, "images": 10, "failed": 0, **more}


def told(now=None, points=(), *, priced=True):
    return wording.facts(now or {}, points, NOW, priced=priced)


def cost(**more):
    return {"cost": {"today_dollars": 2.0, "today_images": 50_000, "dollars_per_1000_images": 0.04,
                     "budget_per_day": None, **more}}


FLEET = {"age_seconds": 2.0, "policy": "predictive", "running": 3, "min": 0, "max": 19, "instances": [
    {"id": f"i-{n}", "name": "", "state": state, "age_seconds": 70.0, "images": 1200, "running": n,
     "reported_at": None if state == "booting" else "2026-11-25T17:59:58Z"}
    for n, state in enumerate(("booting", "busy", "busy", "draining"))]}


def test_the_page_works_without_its_script(service):
    page = service.client.get("/dashboard")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert '<meta http-equiv="refresh"' in page.text.partition("<noscript>")[2]
    assert "no scaler has reported" in page.text
    assert "no price is set: IRS_INSTANCE_PRICE" in page.text
    assert "style=" not in page.text
    assert not re.search(r"<script(?![^>]* src=)", page.text), "a script in the page itself"
    assert not re.search(r"\son\w+=", page.text)


def test_the_navigation_says_where_one_is(service):
    for path, words in (("/", "Recognise"), ("/upload", "Recognise"), ("/dashboard", "Dashboard"),
                        ("/docs", "API")):
        (current,) = re.findall(r'aria-current="page">([^<]*)<', service.client.get(path).text)
        assert current == words


def test_every_file_that_the_page_names_is_there(service):
    page = service.client.get("/dashboard").text
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(named) >= 6
    modules = set()
    for address in named:
        with service.client.get(address) as answer:
            assert answer.status_code == 200, address
            assert "max-age=86400" in answer.headers["Cache-Control"]
            if address.partition("?")[0].endswith("dashboard.js"):
                modules |= set(re.findall(r'from "\./([\w.]+)"', answer.text))
    assert len(modules) == 4
    for name in modules:
        with service.client.get(f"/static/{name}") as answer:
            assert answer.status_code == 200
            assert "max-age=0" in answer.headers["Cache-Control"], "not a day: it bears no version"


def test_a_cloud_that_cannot_be_reached_still_has_a_page(service, events):
    service.sight = errors.Unreachable("down")
    page = service.client.get("/dashboard")
    assert page.status_code == 200
    assert "cannot reach its cloud" in page.text
    assert [e["event"] for e in events if e["log_level"] == "warning"] == ["web.dashboard_blind"] * 2


def test_who_may_not_see_dead_letters_is_told_which_setting(make):
    assert 'data-closed=""' in make().client.get("/dashboard").text
    page = make(host="0.0.0.0").client.get("/dashboard").text
    assert "Not shown here: dead letters show what others have sent: set IRS_OPERATOR_KEYS" in page


def test_names_are_escaped(service, monkeypatch):
    monkeypatch.setattr(dashboard, "_told", lambda view: {
        "at": "2026-11-25T18:00:00Z", "fleet": {**FLEET, "instances": [
            {**FLEET["instances"][0], "name": "<script>alert(1)</script>"}]},
        "decisions": [{"at": "2026-11-25T18:00:00Z", "text": "<b>no</b>"}]})
    page = service.client.get("/dashboard").text
    assert "<script>alert" not in page
    assert "<b>no" not in page


# -- words ---------------------------------------------------------------------------------------
def test_nothing_is_known():
    words = told()
    assert {words[f"{name}.value"] for name in ("queue", "fleet", "rate", "wait", "infer", "errors", "cost",
                                                "dead")} == {"–"}
    assert words["cost.part"] == ""


def test_the_queue():
    words = told({"queue": {"visible": 1234, "in_flight": 8, "oldest_seconds": 75.0, "dead": 2}})
    assert (words["queue.value"], words["queue.note"]) == ("1,234", "oldest 75 s · 8 in hand")
    assert (words["dead.value"], words["dead.tone"]) == ("2", "bad")
    assert told({"queue": {"visible": 0, "in_flight": 0, "dead": 0}})["queue.note"] == "0 in hand"


def test_the_fleet():
    words = told({"fleet": FLEET})
    assert (words["fleet.value"], words["fleet.tone"]) == ("3", "")
    assert words["fleet.note"] == "2 busy · 1 booting · 1 draining · 19 at most"
    assert wording.instance(FLEET["instances"][2], NOW) == {
        "state": "busy", "name": "i-2", "note": "70 s old · 1,200 done · 2 in hand"}
    assert wording.instance(FLEET["instances"][2], NOW + timedelta(minutes=3))["note"].endswith(
        "2 in hand · silent for 3 min")


def test_a_scaler_that_is_silent():
    words = told({"fleet": {**FLEET, "age_seconds": 720.0}})
    assert (words["fleet.tone"], words["fleet.scaler"]) == (
        "warn", "the scaler was last heard of 12 min ago")


def test_the_rate_is_the_last_minutes_and_no_older_ones():
    assert told(points=[minute(5), minute(2, images=1200)])["rate.value"] == "1,200"
    words = told(points=[minute(61), minute(30)])
    assert (words["rate.value"], words["rate.note"]) == ("–", "10 images in the last hour")


@pytest.mark.parametrize(("failed", "tone", "note"), [
    (0, "", "0.0 % of 1,000 images"), (9, "", "0.9 % of 1,000 images"),
    (10, "bad", "1.0 % of 1,000 images"), (1000, "bad", "100 % of 1,000 images")])
def test_errors(failed, tone, note):
    words = told(points=[minute(3, images=1000, failed=failed)])
    assert (words["errors.tone"], words["errors.note"]) == (tone, note)


@pytest.mark.parametrize(("now", "tone", "part", "note"), [
    (cost(), "", "", "$0.0400 per 1,000 images · no budget is set: IRS_BUDGET"),
    (cost(budget_per_day=8.0), "", "25.00", "25 % of the budget of $8.00 · $0.0400 per 1,000 images"),
    (cost(budget_per_day=2.0), "", "100.00", "100 % of the budget of $2.00 · $0.0400 per 1,000 images"),
    (cost(budget_per_day=1.25), "bad", "100",
     "over the budget of $1.25 by $0.7500 · $0.0400 per 1,000 images"),
    (cost(dollars_per_1000_images=None), "", "", "no budget is set: IRS_BUDGET")])
def test_cost(now, tone, part, note):
    words = told(now)
    assert (words["cost.value"], words["cost.tone"], words["cost.part"]) == ("$2.00", tone, part)
    assert words["cost.note"] == note


def test_no_price_names_the_setting():
    assert told(priced=False)["cost.note"] == "no price is set: IRS_INSTANCE_PRICE"
    assert told(cost(today_dollars=None))["cost.note"] == "not known so far"


@pytest.mark.parametrize(("value", "text"), [
    (None, "–"), (0.0, "0 ms"), (0.031, "31 ms"), (0.9996, "1.0 s"), (2.14, "2.1 s"), (9.96, "10 s"),
    (89.0, "89 s"), (91.0, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (200_000, "2 days")])
def test_seconds(value, text):
    assert figures.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [
    (None, "–"), (0.0, "$0.00"), (0.00001, "< $0.0001"), (0.0312, "$0.0312"), (1.25, "$1.25"),
    (999.5, "$999.50"), (1250.4, "$1,250")])
def test_dollars(value, text):
    assert figures.dollars(value) == text
