"""A real Chromium, pages that may not complain, and the accessibility rules of axe-core."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.integration.conftest import make_service
from tests.services import missing, program

__all__ = ["make_service"]

HERE = Path(__file__).resolve().parent
#: Put there by .ci/run, as package.json beside this file pins it.
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
#: It talks to nobody but the page's own server.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run")
#: Milliseconds for what a test waits for: two busy cores.
PATIENCE = 30_000
#: Kinds of axe's findings that fail a test.
GRAVE = ("serious", "critical")


# A file's own: while Playwright runs, no other test of this process can have an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a screen."""
    found = program("chromium", package="chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Callable[..., Page]]:
    """``tabs(allow=(pattern, …), **options)``: a page in a context of its own.

    ``options`` are those of Playwright's ``new_context``: ``color_scheme``, ``viewport`` and so
    on. The test fails where a page logs an error, breaks its own Content-Security-Policy
    (Chromium logs that as an error too) or throws, unless ``allow`` has a pattern for it.
    """
    complaints: list[str] = []
    contexts = []

    def open_tab(allow: Sequence[str] = (), **options: Any) -> Page:
        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                complain(f"{message.text} ({message.location['url']})")

        def complain(text: str) -> None:
            if not any(re.search(pattern, text) for pattern in allow):
                complaints.append(text)

        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("page", lambda page: page.on("pageerror", lambda error: complain(str(error))))
        context.on("console", said)
        return context.new_page()

    yield open_tab
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def tab(tabs: Callable[..., Page]) -> Page:
    """A page in a context of its own, which fails the test where it complains."""
    return tabs()


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], None]:
    """``axe(page)`` fails the test where axe-core finds something serious or critical."""
    if not AXE.exists():
        missing("no axe-core here; get it: npm install --no-package-lock --prefix tests/browser")
    script = AXE.read_text("utf-8")

    def check(page: Page) -> None:
        # The debugger's way in, which the page's own Content-Security-Policy does not bind.
        session = page.context.new_cdp_session(page)
        session.send("Runtime.evaluate", {"expression": script})
        answer = session.send("Runtime.evaluate", {
            "expression": "axe.run().then(found => JSON.stringify(found.violations))",
            "awaitPromise": True, "returnByValue": True})
        session.detach()
        assert "value" in answer["result"], answer
        found = json.loads(answer["result"]["value"])
        grave = [f"{finding['id']}: {finding['help']}: {node['target']}: {node['failureSummary']}"
                 for finding in found if finding["impact"] in GRAVE for node in finding["nodes"]]
        assert not grave, "\n".join(grave)

    return check
