"""The page with its script, on a real service: what people do, and what they then see."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.processes import Service, Web

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

INPUT = "#form input[name=myfile]"
#: What Chromium logs when a file is.
REFUSED = "status of 415 .*/v1/images"
#: What a file of another kind is told.
NO_IMAGE = re.compile("not an image", re.IGNORECASE)


@pytest.fixture(scope="module")
def web(cloud: Any, make_service: Callable[..., Service]) -> Web:
    """A web tier with one worker."""
    service: Service = make_service(cloud)
    web = service.web()
    service.worker()
    return web


@pytest.fixture
def tab(tabs: Callable[..., Page]) -> Page:
    """A page whose files may be refused, which Chromium logs."""
    return tabs(allow=[REFUSED])


def opened(page: Page, web: Web) -> Page:
    page.goto(web.url)
    page.wait_for_selector("html.ready")
    return page


def payload(name: str, data: bytes, kind: str = "image/jpeg") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


def choose(page: Page, **files: bytes) -> None:
    """Choose photographs by their names without the ending."""
    page.set_input_files(INPUT, [payload(f"{name}.jpg", data) for name, data in files.items()])


def small(number: int) -> bytes:
    """A PNG of 8 × 8 pixels like no other."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes((number % 256, number // 256, 90)) * 8
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b""))


def problem(status: int, code: str, detail: str, **headers: str) -> dict[str, Any]:
    """An answer as the service would refuse."""
    return {"status": status, "headers": headers | {"Content-Type": "application/problem+json"},
            "body": json.dumps({"type": "about:blank", "title": "?", "status": status, "detail": detail,
                                "code": code})}


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders from outside, as a file manager does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    session.detach()


def row(page: Page, name: str) -> Any:
    return page.locator(".row").filter(has=page.locator(f".file:text-is('{name}')"))


def kept(page: Page, what: str) -> None:
    """Wait until that is true of the ``files`` in the browser's store, which has them in a moment."""
    page.wait_for_function("""async () => {
        const done = (request) => new Promise((resolve) => {
            request.onsuccess = () => resolve(request.result);
        });
        const database = await done(indexedDB.open('irs'));
        const files = await done(database.transaction('files').objectStore('files').getAll());
        database.close();
        return WHAT;
    }""".replace("WHAT", what))


def labels(page: Page) -> dict[str, str]:
    """The labels that are shown, by file."""
    return dict(page.eval_on_selector_all(".row[data-state=done]", """rows => rows.map(
        row => [row.querySelector('.file').textContent, row.querySelector('.title').textContent])"""))


def test_twenty_dropped_images_have_their_labels_and_the_bad_one_says_why(web, tab, photos, tmp_path):
    known = {"chelsea": "Egyptian cat", "coffee": "espresso", "rocket": "missile"}
    paths, wanted = [], {}
    for number in range(19):
        stem, label = list(known.items())[number % 3]
        path = tmp_path / f"{stem}-{number}.jpg"
        path.write_bytes(photos[stem])
        paths.append(path)
        wanted[path.name] = label
    (tmp_path / "notes.jpg").write_text("not an image at all")
    asked: list[tuple[str, str]] = []
    tab.on("request", lambda request: asked.append((request.method, request.url.removeprefix(web.url))))
    opened(tab, web)
    drop(tab, *paths[:10], tmp_path / "notes.jpg", *paths[10:])
    expect(tab.locator(".row")).to_have_count(20)
    expect(tab.locator("#tally")).to_have_text("19 of 20 recognised, 1 failed")
    assert labels(tab) == wanted
    # All of them by events: no job was asked for by itself.
    assert ("POST", "/v1/events") in asked
    assert not [path for method, path in asked if method == "GET" and path.startswith("/v1/images/")]
    bad = row(tab, "notes.jpg")
    expect(bad.locator(".title")).to_have_text("Not recognised")
    expect(bad.locator(".why")).to_have_text(NO_IMAGE)
    expect(bad.get_by_role("button", name="Retry")).to_be_visible()
    first = row(tab, "chelsea-0.jpg")
    expect(first.locator(".guesses li")).to_have_count(5)
    expect(first.locator(".guesses li").first).to_have_text(re.compile(r"^Egyptian cat\d\d\.\d %$"))
    expect(tab.locator(".thumb img[src^=blob]")).to_have_count(19)
    expect(tab.locator("#said")).to_have_text("19 of 20 recognised, 1 failed.")


def test_a_folder_is_dropped_with_what_is_in_it(web, tab, tmp_path):
    inner = tmp_path / "holiday" / "day 2"
    inner.mkdir(parents=True)
    (inner.parent / "a.png").write_bytes(small(1))
    (inner / "b.png").write_bytes(small(2))
    (inner / "notes.txt").write_text("no picture")
    (inner / ".hidden.png").write_bytes(small(3))
    opened(tab, web)
    drop(tab, tmp_path / "holiday")
    expect(tab.locator("#tally")).to_have_text("All 2 recognised")
    assert set(labels(tab)) == {"holiday/a.png", "holiday/day 2/b.png"}
    expect(tab.locator("#note")).to_have_text("2 files of the folder are no pictures and were left out.")
    tab.set_input_files("#folder-input", tmp_path / "holiday")
    expect(tab.locator("#tally")).to_have_text("All 4 recognised")


def test_a_pasted_image_has_a_name(web, tab):
    opened(tab, web)
    tab.evaluate("""bytes => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'image.png', { type: 'image/png' }));
        const event = new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true });
        document.body.dispatchEvent(event);
    }""", list(small(7)))
    expect(tab.locator("#tally")).to_have_text("Recognised")
    assert set(labels(tab)) == {"pasted-1.png"}


def test_everything_by_keyboard_alone(web, tab, photos, tmp_path):
    opened(tab, web)
    tab.on("filechooser", lambda chooser: None)  # or the first is asked for before anybody listens

    def tab_to(what: str) -> None:
        for _ in range(40):
            tab.keyboard.press("Tab")
            if tab.evaluate("what => document.activeElement.matches(what)", what):
                return
        pytest.fail(f"Tab never comes to {what}")

    tab_to(INPUT)
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files([payload("rocket.jpg", photos["rocket"]), payload("bad.jpg", b"nothing")])
    expect(tab.locator("#tally")).to_have_text("1 of 2 recognised, 1 failed")

    (tmp_path / "one.png").write_bytes(small(1))
    tab_to("#folder")
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Space")
    chooser.value.set_files(tmp_path)
    expect(tab.locator("#tally")).to_have_text("2 of 3 recognised, 1 failed")

    tab_to("[data-act=retry]")
    with tab.expect_response(lambda answer: "/v1/images?" in answer.url) as sent:
        tab.keyboard.press("Enter")
    assert sent.value.status == 415
    expect(row(tab, "bad.jpg").locator(".why")).to_have_text(NO_IMAGE)
    # The button went and came; the focus stayed in its row.
    focused = "document.activeElement.closest('.row').querySelector('.file').textContent"
    assert tab.evaluate(focused) == "bad.jpg"

    tab.evaluate("document.activeElement.blur()")
    tab_to("#csv")
    with tab.expect_download() as saved:
        tab.keyboard.press("Enter")
    assert Path(saved.value.path()).read_text().startswith("number,id,image,")
    tab_to("#clear")
    tab.keyboard.press("Enter")
    expect(tab.locator("#session")).to_be_hidden()
    assert tab.evaluate("what => document.activeElement.matches(what)", INPUT)


def test_retry_sends_it_again(web, tabs, photos):
    tab = opened(tabs(allow=["status of 422"]), web)
    refused = []

    def refuse_once(route: Route) -> None:
        if refused or route.request.method != "POST":
            route.continue_()
            return
        refused.append(route.request.headers["idempotency-key"])
        route.fulfill(**problem(422, "undecodable", "the moon is full"))

    tab.route("**/v1/images?*", refuse_once)
    choose(tab, coffee=photos["coffee"])
    expect(row(tab, "coffee.jpg").locator(".why")).to_have_text("The moon is full")
    row(tab, "coffee.jpg").get_by_role("button", name="Retry").click()
    expect(row(tab, "coffee.jpg").locator(".title")).to_have_text("espresso")
    assert len(refused) == 1


def test_an_upload_whose_answer_is_lost_is_the_same_job(web, tabs, photos):
    tab = opened(tabs(allow=["ERR_FAILED"]), web)
    ids, keys = [], []

    def lose_the_first(route: Route) -> None:
        answer = route.fetch()  # the service has it
        ids.append(answer.json()["id"])
        keys.append(route.request.headers["idempotency-key"])
        if len(ids) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    tab.route("**/v1/images?*", lose_the_first)
    choose(tab, coffee=photos["coffee"])
    expect(row(tab, "coffee.jpg").locator(".title")).to_have_text("espresso")
    assert len(ids) == 2
    assert len(set(ids)) == len(set(keys)) == 1


def test_a_busy_service_is_given_the_time_that_it_asks_for(web, tabs):
    tab = opened(tabs(allow=["status of 503"]), web)
    refused: list[bool] = []

    def busy_once(route: Route) -> None:
        refused.append(not refused)
        if not refused[-1]:
            route.continue_()
            return
        route.fulfill(**problem(503, "overloaded", "too many clients are waiting", **{"Retry-After": "2"}))

    tab.evaluate("""() => {
        window.times = [];
        const send = XMLHttpRequest.prototype.send;
        XMLHttpRequest.prototype.send = function (body) {
            window.times.push(performance.now());
            return send.call(this, body);
        };
    }""")
    tab.route("**/v1/images?*", busy_once)
    tab.set_input_files(INPUT, [payload("a.png", small(1), "image/png")])
    expect(row(tab, "a.png").locator(".why")).to_have_text(
        "Too many clients are waiting; sent again in 2 s")
    expect(tab.locator("#tally")).to_have_text("Recognised")
    first, second = tab.evaluate("window.times")
    assert second - first >= 1_990


def test_without_events_it_asks(web, tabs, photos):
    tab = opened(tabs(allow=["ERR_FAILED"]), web)
    tab.route("**/v1/events", lambda route: route.abort())
    choose(tab, **{name: photos[name] for name in ("rocket", "coffee", "chelsea")})
    expect(tab.locator("#tally")).to_have_text("All 3 recognised")
    assert labels(tab)["rocket.jpg"] == "missile"


def test_a_stream_that_breaks_off_is_opened_again(web, tabs, photos):
    """The service says nothing new on a stream that a proxy has cut: the next one, or a question, does."""
    tab = opened(tabs(), web)
    cut = []

    def cut_once(route: Route) -> None:
        if cut:
            route.continue_()
            return
        cut.append(True)
        route.fulfill(status=200, content_type="text/event-stream", body=": here\n\nevent: res")

    tab.route("**/v1/events", cut_once)
    choose(tab, coffee=photos["coffee"])
    expect(row(tab, "coffee.jpg").locator(".title")).to_have_text("espresso")
    assert cut


def test_what_is_downloaded_has_the_services_own_columns(web, tab, photos):
    opened(tab, web)
    choose(tab, **{"=1+1": photos["coffee"], 'a "b", c': photos["rocket"], "bad": b"nothing"})
    expect(tab.locator("#tally")).to_have_text("2 of 3 recognised, 1 failed")
    with tab.expect_download() as saved:
        tab.click("#csv")
    assert saved.value.suggested_filename.endswith(".csv")
    text = Path(saved.value.path()).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    from irs.bulk.lines import COLUMNS

    assert tuple(rows[0]) == COLUMNS
    assert [found["image"] for found in rows] == ["'=1+1.jpg", 'a "b", c.jpg', "bad.jpg"]
    assert [found["label"] for found in rows] == ["espresso", "missile", ""]
    assert float(rows[0]["confidence"]) > 0.9
    assert (rows[2]["status"], rows[2]["error"]) == ("failed", "unsupported_format")
    with tab.expect_download() as saved:
        tab.click("#json")
    found = json.loads(Path(saved.value.path()).read_text())["results"]
    assert [result.get("label") for result in found] == ["espresso", "missile", None]
    assert found[0] == web.call("GET", f"/v1/images/{found[0]['id']}").json


def test_a_reload_keeps_what_there_was(web, tab, photos):
    opened(tab, web)
    choose(tab, coffee=photos["coffee"], bad=b"nothing")
    expect(tab.locator("#tally")).to_have_text("1 of 2 recognised, 1 failed")
    expect(tab.locator(".thumb img[src^=blob]")).to_have_count(1)
    kept(tab, "files.some((file) => file.state === 'done' && file.thumb)")
    tab.reload()
    expect(tab.locator("#tally")).to_have_text("1 of 2 recognised, 1 failed")
    assert labels(tab) == {"coffee.jpg": "espresso"}
    expect(row(tab, "bad.jpg").locator(".why")).to_have_text(NO_IMAGE)
    expect(tab.locator(".thumb img[src^=blob]")).to_have_count(1)
    tab.click("#clear")
    tab.reload()
    tab.wait_for_selector("html.ready")
    expect(tab.locator("#session")).to_be_hidden()


def test_what_the_browser_has_stored_may_be_removed_under_it(web, tab):
    opened(tab, web)
    tab.set_input_files(INPUT, [payload("a.png", small(1), "image/png")])
    expect(tab.locator("#tally")).to_have_text("Recognised")
    session = tab.context.new_cdp_session(tab)
    session.send("Storage.clearDataForOrigin", {"origin": web.url, "storageTypes": "all"})
    session.detach()
    tab.set_input_files(INPUT, [payload("b.png", small(2), "image/png")])
    expect(tab.locator("#tally")).to_have_text("All 2 recognised")
    tab.click("#clear")
    expect(tab.locator("#session")).to_be_hidden()


#: Milliseconds for which the page may not answer: from about a second on people doubt whether it
#: lives. It was about half a second at the longest, with ten processes to each core.
FROZEN = 1_000


#: Files of one go: four of those that the page takes in at once, eight of the rows that it draws in
#: a frame, and many times the rows that are near the window.
MANY = 200


def test_many_at_once_do_not_freeze_it(web, tab, tmp_path):
    paths = []
    for number in range(MANY):
        paths.append(tmp_path / f"{number:03}.png")
        paths[-1].write_bytes(small(number))
    opened(tab, web)
    tab.evaluate("""() => {
        window.sent = []; // how many were on their way, that one included
        let flying = 0;
        const { open, send } = XMLHttpRequest.prototype;
        XMLHttpRequest.prototype.open = function (...all) {
            this.addEventListener('loadend', () => { flying -= 1; });
            return open.apply(this, all);
        };
        XMLHttpRequest.prototype.send = function (body) {
            window.sent.push(flying += 1);
            return send.call(this, body);
        };
        window.blocked = [];
        new PerformanceObserver((list) => {
            window.blocked.push(...list.getEntries().map((entry) => entry.duration));
        }).observe({ type: 'longtask' });
        window.gaps = [];
        let last = performance.now();
        const tick = () => {
            const now = performance.now();
            window.gaps.push(now - last);
            last = now;
            setTimeout(tick, 0);
        };
        tick();
    }""")
    drop(tab, *paths)
    expect(tab.locator(".row")).to_have_count(MANY)
    expect(tab.locator("#tally")).to_have_text(f"All {MANY} recognised", timeout=200_000)
    sent = tab.evaluate("window.sent")
    assert len(sent) == MANY
    assert max(sent) == 4
    blocked, gaps = tab.evaluate("[window.blocked, window.gaps]")
    print(f"longest task {max(blocked, default=0):.0f} ms, longest gap {max(gaps):.0f} ms")
    assert max(blocked, default=0) < FROZEN
    assert max(gaps) < FROZEN
    # Out of sight a row has no picture in memory.
    assert tab.locator(".thumb img[src]").count() < MANY / 2


# -- without a worker: what waits ------------------------------------------------------------------
SECRET = "k" * 24


@pytest.fixture(scope="module")
def idle(cloud: Any, make_service: Callable[..., Service]) -> tuple[Web, Service]:
    """A web tier that wants a key, and nobody who works."""
    service: Service = make_service(cloud, api_keys=f"page:{SECRET}")
    return service.web(), service


def test_with_keys_what_waits_is_shown_cancelled_and_found_again_after_a_reload(idle, tabs, photos):
    web, service = idle
    tab = opened(tabs(http_credentials={"username": "me", "password": SECRET}), web)
    choose(tab, coffee=photos["coffee"], rocket=photos["rocket"])
    expect(tab.locator("#tally")).to_have_text("0 of 2 recognised · 2 in the queue")
    expect(row(tab, "coffee.jpg").locator(".title")).to_have_text("In the queue")
    expect(row(tab, "rocket.jpg").locator(".why")).to_have_text("About 2 in line")
    row(tab, "coffee.jpg").get_by_role("button", name="Cancel").click()
    expect(row(tab, "coffee.jpg").locator(".title")).to_have_text("Cancelled")
    kept(tab, "files.length === 2 && files.every((file) => file.id)")
    tab.reload()
    expect(tab.locator("#tally")).to_have_text("0 of 2 recognised · 1 in the queue")
    service.worker()
    expect(row(tab, "rocket.jpg").locator(".title")).to_have_text("missile")
    expect(tab.locator("#tally")).to_have_text("1 of 2 recognised, 1 cancelled")


# -- for everybody -----------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave(web, tabs, axe, photos, scheme):
    tab = opened(tabs(allow=[REFUSED], color_scheme=scheme), web)
    axe(tab)
    choose(tab, coffee=photos["coffee"], bad=b"nothing")
    expect(tab.locator("#tally")).to_have_text("1 of 2 recognised, 1 failed")
    axe(tab)


def test_on_a_phone_nothing_sticks_out_or_is_cut(web, tabs, photos):
    tab = opened(tabs(allow=[REFUSED], viewport={"width": 320, "height": 640}, has_touch=True,
                      is_mobile=True, device_scale_factor=2), web)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(wide) == 0
    name = "a-photograph-with-a-name-that-goes-on-and-on-and-has-no-space-in-it.jpg"
    tab.set_input_files(INPUT, [payload(name, photos["coffee"]), payload("bad.jpg", b"nothing")])
    expect(tab.locator("#tally")).to_have_text("1 of 2 recognised, 1 failed")
    assert tab.evaluate(wide) == 0
    cut = tab.eval_on_selector_all(
        ".guesses .name", "all => all.map(one => [one.textContent, one.scrollWidth - one.clientWidth])")
    assert [name for name, lacks in cut if lacks] == [], "labels are read whole"
    assert len(cut) == 5


def test_who_wants_no_motion_gets_none(web, tabs):
    tab = opened(tabs(reduced_motion="reduce"), web)
    moving = tab.evaluate("""() => {
        document.getElementById('session').hidden = false;
        const bar = document.getElementById('overall');
        bar.removeAttribute('value');
        return getComputedStyle(bar).animationName;
    }""")
    assert moving == "none"
