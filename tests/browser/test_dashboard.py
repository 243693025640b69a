"""The dashboard in a browser: live, with charts, and with nothing to hide when it is not."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from irs.aws.objects import Objects
from irs.domain import chronicle
from irs.domain.chronicle import Decision, Hour, Point
from irs.testing.proxy import Delay, Proxy, Rule
from irs.web import wording
from tests.browser import dashkit
from tests.integration.test_scaling import Deployment
from tests.processes import ROOT, Process, Service, Web, environment, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

#: What Chromium logs of a service that is not there, and of one that is unwell.
AWAY = r"ERR_|status of 503"
PHONE = {"width": 360, "height": 740}
#: Whether a chart has anything drawn in it but its axes.
DRAWN = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let coloured = 0;
  for (let at = 0; at < data.length; at += 4) {
    const low = Math.min(data[at], data[at + 1], data[at + 2]);
    const high = Math.max(data[at], data[at + 1], data[at + 2]);
    coloured += data[at + 3] > 60 && high - low > 40;
  }
  return coloured;
}"""


@pytest.fixture(scope="module")
def service(cloud: Any, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud, instance_price=0.08925, budget=5)


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    """A web tier alone: no scaler, no worker."""
    return service.web()


def overflow(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def drawn(page: Page) -> list[int]:
    """Coloured pixels of each chart."""
    return [canvas.evaluate(DRAWN) for canvas in page.locator(".chart canvas").all()]


def live(page: Page) -> None:
    expect(page.locator("#state-text")).to_have_text("Live")


# -- what is shown -------------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE])
def test_it_is_accessible_and_fits(web: Web, tabs: Callable[..., Page], axe: Callable[[Page], None],
                                   scheme: str, viewport: dict[str, int]) -> None:
    tab = tabs(color_scheme=scheme, viewport=viewport)
    dashkit.answered(tab)
    tab.goto(f"{web.url}/dashboard")
    live(tab)
    expect(tab.locator(".chart canvas")).to_have_count(6)
    tab.locator(".chart summary").first.click()
    axe(tab)
    assert overflow(tab) == 0
    assert min(drawn(tab)) > 200


def test_the_script_says_what_the_page_without_it_says(web: Web, tab: Page) -> None:
    """Two languages have the same words, to the letter."""
    told = dashkit.stats()
    past = dashkit.history()
    variants = [
        told,
        dashkit.stats(cost=None, latency=dict.fromkeys(told["latency"])),
        dashkit.stats(fleet=None, queue={**told["queue"], "oldest_seconds": None, "dead": 3}),
        dashkit.stats(fleet={**told["fleet"], "age_seconds": 700.0, "instances": []}),
        dashkit.stats(cost={**told["cost"], "today_dollars": 7.25}),
        dashkit.stats(cost={**told["cost"], "budget_per_day": None, "today_dollars": 0.01234}),
        dashkit.stats(cost={**told["cost"], "today_dollars": None}),
    ]
    tab.goto(web.url)
    tab.evaluate("async address => { window.words = await import(address); }", f"{web.url}/static/facts.js")
    at = datetime.now(UTC)
    for one in variants:
        for points in ([], past["points"]):
            for priced in (True, False):
                said = tab.evaluate("([now, points, at, priced]) => words.facts(now, points, at, priced)",
                                    [one, points, at.timestamp() * 1000, priced])
                assert said == wording.facts(one, points, at, priced=priced)
    for one in told["fleet"]["instances"]:
        later = at + timedelta(minutes=5)
        said = tab.evaluate("([one, at]) => words.instanceNote(one, at)", [one, later.timestamp() * 1000])
        assert said == wording.instance(one, later)["note"]


@pytest.mark.parametrize(("step", "ticks"), [
    (0.00005, ["$0.00005", "$0.00010", "$0.00015"]), (0.00025, ["$0.00025", "$0.00050", "$0.00075"]),
    (0.1, ["$0.10", "$0.20", "$0.30"]), (2.5, ["$2.50", "$5.00", "$7.50"])])
def test_no_two_ticks_of_the_cost_are_the_same(web: Web, tab: Page, step: float, ticks: list[str]) -> None:
    tab.goto(web.url)
    assert tab.evaluate("""async ([address, step]) => {
        const { dollarsBy } = await import(address);
        return [1, 2, 3].map((times) => dollarsBy(times * step, step));
    }""", [f"{web.url}/static/figures.js", step]) == ticks


def test_an_axis_of_seconds_has_one_unit_and_one_number_of_places(web: Web, tab: Page) -> None:
    tab.goto(web.url)
    axes = tab.evaluate("""async (address) => {
        const { SECONDS, secondsBy } = await import(address);
        return SECONDS.map((step) => [step, [1, 2, 3, 4, 5].map((times) => secondsBy(times * step, step))]);
    }""", f"{web.url}/static/figures.js")
    told = dict(axes)
    assert told[5] == ["5 s", "10 s", "15 s", "20 s", "25 s"]
    assert told[0.5] == ["0.5 s", "1.0 s", "1.5 s", "2.0 s", "2.5 s"]
    assert told[1800][:2] == ["30 min", "60 min"]
    for step, ticks in axes:
        assert len({_kind(tick) for tick in ticks}) == 1, ticks
        one = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[ticks[0].split()[1]]
        assert [float(tick.split()[0]) * one for tick in ticks] == pytest.approx(
            [times * step for times in range(1, 6)]), "and none is rounded"


def _kind(tick: str) -> tuple[str, int]:
    """The unit, and the number of places."""
    number, unit = tick.split()
    return unit, len(number.partition(".")[2])


def test_the_ticks_of_the_wait_are_of_one_kind(web: Web, tab: Page) -> None:
    tab.add_init_script("""
        window.ticks = {};
        const draw = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
            const title = this.canvas.closest?.("figure")?.querySelector("h3").textContent;
            (window.ticks[title] ??= new Set()).add(text);
            return draw.call(this, text, ...more);
        };""")
    dashkit.answered(tab)
    tab.goto(f"{web.url}/dashboard")
    # A function: an expression would be asked for by eval, which the page's policy refuses.
    tab.wait_for_function("() => window.ticks.Wait?.size > 1")
    ticks = [tick for tick in tab.evaluate("[...window.ticks.Wait]") if " " in tick]
    assert len(ticks) > 1
    assert len({_kind(tick) for tick in ticks}) == 1, ticks


def test_states_can_be_told_without_colours(web: Web, tab: Page) -> None:
    dashkit.answered(tab)
    tab.goto(f"{web.url}/dashboard")
    cards = tab.locator(".instance")
    expect(cards).to_have_count(7)
    shapes = {}
    for card in cards.all():
        shapes[card.locator("b").inner_text()] = card.locator("use").get_attribute("href")
    assert set(shapes) == {"Busy", "Idle", "Booting", "Draining", "Stopped"}
    assert len(set(shapes.values())) == 5


def test_over_budget_is_plain_to_see(web: Web, tab: Page) -> None:
    dashkit.answered(tab, lambda: dashkit.stats(cost={**dashkit.stats()["cost"], "today_dollars": 6.5}))
    tab.goto(f"{web.url}/dashboard")
    expect(tab.locator("#tile-cost .note")).to_contain_text("over the budget of $5.00 by $1.50")
    expect(tab.locator("#tile-cost")).to_have_attribute("data-tone", "bad")
    assert tab.locator("#budget-value").get_attribute("width") == "100"


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_browser_whose_clock_is_wrong_shows_the_same(web: Web, tab: Page, hours: int) -> None:
    tab.add_init_script("""(() => {
        const Right = Date;
        const now = () => Right.now() + HOURS * 3600e3;
        window.Date = class extends Right {
            constructor(...given) {
                super(...(given.length ? given : [now()]));
            }
            static now() {
                return now();
            }
        };
    })()""".replace("HOURS", str(hours)))
    dashkit.answered(tab)
    tab.goto(f"{web.url}/dashboard")
    live(tab)
    expect(tab.locator("[data-fact='rate.value']")).to_have_text(re.compile(r"^\d+$"))
    expect(tab.locator("[data-fact='errors.note']")).to_contain_text("images")
    assert "silent" not in tab.inner_text("#instances")
    expect(tab.locator(".chart canvas")).to_have_count(6)
    assert min(drawn(tab)) > 200


def test_gaps_are_gaps_and_the_table_has_the_figures(web: Web, tab: Page) -> None:
    dashkit.answered(tab)
    tab.goto(f"{web.url}/dashboard")
    live(tab)
    queue = tab.locator(".chart").first
    queue.locator("summary").click()
    rows = queue.locator("tbody tr").all_inner_texts()
    assert 30 <= len(rows) <= 37
    assert sum("–" in row for row in rows) >= 3
    label = queue.locator(".plot").get_attribute("aria-label")
    assert label.startswith("Queue, images. waiting: ")
    assert "at most" in label


def test_a_letter_that_says_little_does_not_hide_the_others(web: Web, tabs: Callable[..., Page]) -> None:
    """And where there is no list, the page does not say that there is none."""
    tab = tabs(allow=["status of 503"])
    row = {"id": "m-1", "job": False, "image": None, "received": None, "finished": None, "status": None,
           "attempts": None, "error": None, "thumbnail": None, "sent": "2026-11-22T21:29:30.140Z"}
    told = {"total": 3, "partial": False, "letters": [
        row,
        {**row, "id": "a", "job": True, "image": "<b>a</b>.jpg", "error": {"code": "gone", "message": ""}},
        {**row, "id": "b", "job": True, "image": "b.jpg", "status": "queued"}]}
    answers = iter([{"status": 503, "json": {"detail": "try again"}}, {"status": 200, "json": told}])
    tab.route("**/v1/dead-letters?*", lambda route: route.fulfill(**next(answers)))
    dead = {"queue": {**dashkit.stats()["queue"], "dead": 3}}
    dashkit.answered(tab, lambda: dashkit.stats(**dead))
    tab.goto(f"{web.url}/dashboard")
    expect(tab.locator("#outcome")).to_have_text("The dead letters cannot be shown: try again.")
    expect(tab.locator("#no-letters")).to_be_hidden()
    expect(tab.locator(".letter")).to_have_count(3)
    expect(tab.locator("#outcome")).to_have_text("")
    assert tab.locator(".letter h3").all_inner_texts() == [
        "A message that is no job’s", "<b>a</b>.jpg", "b.jpg"]
    assert tab.locator(".letter .reason").nth(1).inner_text() == "Gone"


def test_a_new_letter_leaves_the_focus_where_it_is(web: Web, tab: Page) -> None:
    row = {"job": True, "received": None, "finished": None, "status": "queued", "attempts": None,
           "error": None, "thumbnail": None, "sent": "2026-11-22T21:29:30.140Z"}
    rows = [{**row, "id": name, "image": f"{name}.jpg"} for name in "dcba"]
    dead = 3

    def told() -> dict[str, Any]:
        return dashkit.stats(queue={**dashkit.stats()["queue"], "dead": dead})

    tab.route("**/v1/dead-letters?*", lambda route: route.fulfill(
        status=200, json={"total": dead, "partial": False, "letters": rows[-dead:]}))
    dashkit.answered(tab, told)
    tab.goto(f"{web.url}/dashboard")
    button = tab.get_by_label("Send back b.jpg")
    button.focus()
    tab.keyboard.press("Enter")
    dead = 4
    expect(tab.locator(".letter h3")).to_have_text(["d.jpg", "c.jpg", "b.jpg", "a.jpg"])
    tab.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_an_empty_service_says_what_is_missing(cloud: Any, make_service: Callable[..., Service],
                                               tab: Page, axe: Callable[[Page], None]) -> None:
    bare = make_service(cloud).web()
    tab.goto(f"{bare.url}/dashboard")
    live(tab)
    expect(tab.locator("#no-instances")).to_have_text(
        "No scaler has reported: irs scale is one, and irs up starts it with everything else.")
    expect(tab.locator("#tile-cost .note")).to_have_text("no price is set: IRS_INSTANCE_PRICE")
    expect(tab.locator("#no-letters")).to_contain_text("None.")
    expect(tab.locator("#no-history")).to_contain_text("No figures so far")
    axe(tab)


def test_without_scripts_the_facts_are_there(web: Web, tabs: Callable[..., Page]) -> None:
    tab = tabs(java_script_enabled=False)
    tab.goto(f"{web.url}/dashboard")
    expect(tab.locator("[data-fact='queue.value']")).to_have_text("0")
    expect(tab.locator("#state-text")).to_contain_text("As of")
    assert tab.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
    assert overflow(tab) == 0


# -- how it asks ---------------------------------------------------------------------------------
def test_it_asks_every_two_seconds_and_not_while_nobody_looks(web: Web, tab: Page) -> None:
    asked = dashkit.answered(tab)

    def looks() -> int:
        return sum(address.endswith("/v1/stats") for address in asked)

    def seen(hidden: bool) -> None:
        tab.evaluate("""hidden => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""", hidden)

    def again() -> None:
        """The next look is over, and the one after it planned."""
        before = tab.evaluate("dashboard.timer")
        tab.clock.run_for(2000)
        until(lambda: tab.evaluate("dashboard.timer") != before)

    tab.clock.install()
    tab.goto(f"{web.url}/dashboard")
    live(tab)
    tab.clock.pause_at(datetime.now() + timedelta(seconds=30))  # noqa: DTZ005 - as the clock wants it
    until(lambda: tab.evaluate("dashboard.history > 0 && !dashboard.looking"))
    began = looks()
    for _ in range(3):
        again()
    assert looks() == began + 3
    assert sum("/history" in address for address in asked) == 1
    seen(hidden=True)
    assert tab.inner_text("#state-text") == "Paused"
    tab.clock.run_for(60_000)
    assert looks() == began + 3
    before = tab.evaluate("dashboard.timer")
    seen(hidden=False)
    until(lambda: tab.evaluate("dashboard.timer") != before)
    assert looks() == began + 4
    assert tab.inner_text("#state-text") == "Live"
    assert asked[-1].endswith("minutes=5"), "what is new since, not all of it"


def test_the_range_is_kept(web: Web, tab: Page) -> None:
    dashkit.answered(tab)
    tab.goto(f"{web.url}/dashboard")
    live(tab)
    with tab.expect_response("**/v1/stats/history?minutes=720"):
        tab.get_by_label("12 h").check()
    chart = tab.locator(".chart .plot").first
    before = chart.get_attribute("aria-label")
    tab.reload()
    live(tab)
    assert tab.get_by_label("12 h").is_checked()
    expect(chart).to_have_attribute("aria-label", before or "")


def test_the_service_goes_away_and_comes_back(service: Service, tabs: Callable[..., Page],
                                              tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = service.web()
        tab = tabs(allow=[AWAY])
        tab.goto(f"{first.url}/dashboard")
        live(tab)
        first.stop()
        alarm = tab.locator("#alarm")
        expect(alarm).to_contain_text("The service does not answer, since ")
        expect(alarm).to_contain_text("Trying again every 2.0 s")
        expect(tab.locator("#state-text")).to_have_text("Not live")
        second = Process([sys.executable, str(ROOT / "web_entry.py")],
                         environment(service.settings, IRS_PORT=str(first.port)), tmp_path)
        stack.callback(second.stop)
        live(tab)
        expect(alarm).to_be_hidden()


# -- real ones -----------------------------------------------------------------------------------
def test_the_last_hours_survive_reload_and_restart(service: Service, tab: Page) -> None:
    """The scaler's hours are in S3; another web process has the same charts."""
    records = Objects(service.settings, service.settings.output_bucket)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    hours: dict[datetime, Hour] = {}
    for ago in range(1, 170):
        at = now - timedelta(minutes=ago)
        start = chronicle.hour_of(at)
        hours[start] = hours.get(start, Hour(start=start)).with_point(Point(
            at=at, visible=float(ago), busy=2.0, images=ago, instance_seconds=120.0))
    first = chronicle.hour_of(now - timedelta(minutes=1))
    hours[first] = hours[first].with_decisions([Decision(
        at=now - timedelta(minutes=1), text="queue 40, need 2, have 0: launching 2")])
    for start, hour in hours.items():
        records.put(chronicle.key(service.settings.cluster, start), hour.to_json())

    before, after = service.web(), service.web()
    seen = []
    for address in (before.url, before.url, after.url):
        tab.goto(f"{address}/dashboard")
        live(tab)
        expect(tab.locator("#decisions")).to_contain_text("queue 40, need 2, have 0: launching 2")
        expect(tab.locator(".chart .plot").first).to_have_attribute(
            "aria-label", "Queue, images. waiting: 1 now, 169 at most; in hand: 0 now, 0 at most.")
        seen.append(tab.locator(".chart .plot").nth(1).get_attribute("aria-label"))
        assert drawn(tab)[0] > 200
    assert len(set(seen)) == 1


@pytest.fixture
def deployment(cloud: Any, make_service: Callable[..., Service], tmp_path: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(make_service(
            cloud, state_dir=tmp_path / ".irs", log_format="json", scaler_interval=0.5, boot_delay=1,
            min_instances=0, max_instances=2), tmp_path, stack)


def test_a_burst_launches_an_instance_that_works_and_drains(
        deployment: Deployment, tab: Page, photos: dict[str, bytes], tmp_path: Path) -> None:
    """Its images take as long as the test wants; then EC2 wants it back, with work in hand."""
    made, settings = deployment, deployment.settings
    with Proxy(settings.aws_endpoint_url, seed=1) as proxy, ExitStack() as stack:
        behind = settings.model_copy(update={"aws_endpoint_url": proxy.endpoint})
        slow = proxy.add(Rule(service="s3", operations={"GetObject"}, target=settings.input_bucket,
                              action=Delay(120)))
        scaler = Process([sys.executable, "-m", "irs", "scale"], environment(behind), tmp_path)
        stack.callback(scaler.stop)
        tab.goto(f"{made.web.url}/dashboard")
        expect(tab.locator("[data-fact='fleet.scaler']")).to_contain_text("policy")
        for name in ("a.jpg", "b.jpg"):
            answer = made.web.upload((name, photos["coffee"]), Prefer="wait=0")
            assert answer.status == 202
        card = tab.locator(".instance").first
        expect(card.locator("b")).to_have_text("Booting")
        instance = card.get_attribute("data-id")
        assert instance is not None
        card = tab.locator(f".instance[data-id='{instance}']")
        expect(card.locator("b")).to_have_text("Busy", timeout=60_000)
        expect(card.locator(".note")).to_contain_text("in hand")
        made.runner.interrupt(instance, "terminate")
        expect(card.locator("b")).to_have_text("Draining")
        slow.clear()
        assert slow.fired
        expect(card).to_have_count(0)
        expect(tab.locator("#decisions")).to_contain_text("launching")
