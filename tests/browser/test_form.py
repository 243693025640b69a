"""The page as a plain form: no script runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.processes import Service, Web

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def web(cloud: Any, make_service: Callable[..., Service]) -> Iterator[Web]:
    """A web tier with one worker."""
    service: Service = make_service(cloud)
    web = service.web()
    service.worker()
    yield web


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_is_accessible(web: Web, tabs: Callable[..., Page], axe: Callable[[Page], None],
                                scheme: str) -> None:
    tab = tabs(color_scheme=scheme)
    tab.goto(web.url)
    axe(tab)


def test_without_scripts_a_photograph_is_recognised(web: Web, tabs: Callable[..., Page],
                                                    photos: dict[str, bytes]) -> None:
    tab = tabs(java_script_enabled=False)
    tab.goto(web.url)
    tab.set_input_files("input[type=file]", [
        {"name": "rocket.jpg", "mimeType": "image/jpeg", "buffer": photos["rocket"]}])
    tab.click("button[type=submit]")
    assert tab.inner_text(".card .file") == "rocket.jpg"
    assert tab.inner_text(".card h2").lower() == "missile"
