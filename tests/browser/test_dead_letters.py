"""Dead letters on the dashboard: seen, and sent back to a real label. With an operator's key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from irs.audit import letters
from irs.audit.sweep import Sweep
from irs.aws.queues import Queue
from irs.results.store import ResultStore
from tests.processes import Service, Web, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

KEY = "an-operators-key-0"
#: Chromium asks for a password where it is told 401, and says so.
ASKED = r"status of 401"


class Ward:
    """A service without a worker, where every message dies."""

    def __init__(self, service: Service) -> None:
        self.service = service
        settings = service.settings
        self.work = Queue(settings, settings.input_queue)
        self.dead = Queue(settings, settings.dead_letter_queue)
        self.results = ResultStore(settings)
        self.web: Web = service.web()

    def bury(self, name: str, data: bytes) -> str:
        """Upload it, and receive its message as a worker does that dies each time; its job's id."""
        there = self.dead.depth().visible
        answer = self.web.call("POST", f"/v1/images?name={name}", data, {"Content-Type": "image/jpeg"})
        assert answer.status == 202, answer.text

        def died() -> bool:
            self.work.receive(visibility=0, wait=0)
            return self.dead.depth().visible > there

        until(died)
        # As a web process does within half a minute.
        Sweep(self.dead, self.results, lambda result, to: None,
              receives=self.service.settings.max_receive_count).sweep(there + 1)
        job_id = answer.json["id"]
        # One look serves everybody for some seconds, also what was there before.
        until(lambda: job_id in self.web.call("GET", "/v1/dead-letters", headers={"X-API-Key": KEY}).text)
        return job_id

    def empty(self) -> None:
        for queue in (self.dead, self.work):
            for letter in letters.peek(queue, 10):
                queue.delete_batch([letter.message.receipt])


@pytest.fixture(scope="module")
def all_of_it(cloud: Any, make_service: Callable[..., Service]) -> Ward:
    # Nothing is sent again by itself: what waits here for a worker waits for the test.
    return Ward(make_service(cloud, max_receive_count=2, operator_keys=f"me:{KEY}",
                             requeue_after="off"))


@pytest.fixture
def ward(all_of_it: Ward) -> Iterator[Ward]:
    yield all_of_it
    all_of_it.empty()


@pytest.fixture
def tab(tabs: Callable[..., Page]) -> Page:
    return tabs(allow=[ASKED], http_credentials={"username": "me", "password": KEY})


def letter(tab: Page, name: str) -> Any:
    return tab.locator(".letter", has_text=name)


def test_a_dead_letter_is_seen_and_sent_back_to_its_label(
        ward: Ward, tab: Page, photos: dict[str, bytes], axe: Callable[[Page], None]) -> None:
    job_id = ward.bury("cup.jpg", photos["coffee"])
    tab.goto(f"{ward.web.url}/dashboard")
    row = letter(tab, "cup.jpg")
    expect(row.locator(".reason")).to_have_text(
        "Could not be classified in 2 attempts, each of which was cut off")
    row.scroll_into_view_if_needed()
    tab.wait_for_function("() => document.querySelector('.letter img')?.naturalWidth === 160")
    axe(tab)

    worker = ward.service.worker()
    row.get_by_role("button", name="Send back cup.jpg").click()
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_contain_text("Send cup.jpg back?")
    expect(dialog).to_contain_text("for up to 2 attempts")
    axe(tab)
    dialog.get_by_role("button", name="Send back").click()
    expect(tab.locator("#outcome")).to_have_text("cup.jpg: sent back to the queue.")
    expect(row.locator(".reason")).to_have_text("Recognised: espresso")
    found = ward.results.read(job_id)
    assert found is not None
    assert (found.label, ward.dead.depth().visible) == ("espresso", 0)
    worker.stop()


def test_nothing_is_sent_back_by_who_thinks_again(ward: Ward, tab: Page, photos: dict[str, bytes]) -> None:
    job_id = ward.bury("cat.jpg", photos["chelsea"])
    tab.goto(f"{ward.web.url}/dashboard")
    # By keyboard alone.
    button = letter(tab, "cat.jpg").get_by_role("button")
    button.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("dialog")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()
    assert ward.dead.depth().visible == 1
    found = ward.results.read(job_id)
    assert found is not None and found.error is not None
    assert found.error.code == "dead_letter"


def test_all_go_back_at_once(ward: Ward, tab: Page, photos: dict[str, bytes]) -> None:
    ids = [ward.bury(f"{name}.jpg", photos[name]) for name in ("chelsea", "rocket")]
    ward.dead.send("no task of ours")
    tab.goto(f"{ward.web.url}/dashboard")
    expect(tab.locator(".letter")).to_have_count(3)
    expect(letter(tab, "A message that is no job’s").get_by_role("button")).to_have_count(0)
    tab.get_by_role("button", name="Send all back").click()
    tab.get_by_role("dialog").get_by_role("button", name="Send back").click()
    expect(tab.locator("#outcome")).to_have_text("2 sent back to the queue; 1 no job’s, and left.")
    expect(tab.locator(".letter")).to_have_count(1)
    assert ward.work.depth().visible == 2
    assert [ward.results.read(job_id) for job_id in ids] == [None, None]


def test_a_redrive_that_gets_no_answer_says_so(ward: Ward, tabs: Callable[..., Page],
                                               photos: dict[str, bytes]) -> None:
    ward.bury("cat.jpg", photos["chelsea"])
    tab = tabs(allow=[ASKED, "ERR_FAILED"], http_credentials={"username": "me", "password": KEY})
    tab.route("**/redrive", lambda route: route.abort())
    tab.goto(f"{ward.web.url}/dashboard")
    letter(tab, "cat.jpg").get_by_role("button").click()
    tab.get_by_role("dialog").get_by_role("button", name="Send back").click()
    expect(tab.locator("#outcome")).to_contain_text("It can be sent again without harm.")
    expect(letter(tab, "cat.jpg").get_by_role("button")).to_be_enabled()
