from __future__ import annotations

import html
import re

import pytest

from irs.web.docs import prose


@pytest.fixture
def page(service):
    answer = service.client.get("/docs", base_url="http://images.example:8080")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    return answer


@pytest.fixture
def tree(service):
    return service.client.get("/openapi.json").json


def test_the_page_needs_no_script_and_nothing_from_elsewhere(page):
    assert "<script" not in page.text
    assert "style=" not in page.text
    loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]*)"', page.text)
    assert loaded
    assert all(address.startswith("/static/") for address in loaded)
    assert "'unsafe" not in page.headers["Content-Security-Policy"]


def test_every_operation_parameter_and_field_is_on_it(page, tree):
    text = html.unescape(page.text)
    for path, item in tree["paths"].items():
        assert f"<code>{path}</code>" in text
        for told in item.values():
            assert f'id="{told["operationId"]}"' in text
            assert told["summary"] in text
            for param in told.get("parameters", ()):
                assert f"<code>{param['name']}</code>" in text
    for name, schema in tree["components"]["schemas"].items():
        section = text.split(f'id="schema-{name}"')[1].split("<section")[0]
        for field in schema["properties"]:
            assert f"<code>{field}</code>" in section


def test_every_code_is_on_it(page, tree):
    section = page.text.split('id="errors"')[1].split("<section")[0]
    for response in tree["components"]["responses"].values():
        told = response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
        for code in told["code"]["enum"]:
            assert f"<code>{code}</code>" in section


def test_every_link_within_it_leads_somewhere(page):
    anchors = re.findall(r' id="([^"]+)"', page.text)
    assert len(anchors) == len(set(anchors))
    links = set(re.findall(r'href="#([^"]+)"', page.text))
    assert len(links) > 15
    assert links <= set(anchors)


def test_commands_are_for_this_host(page):
    assert "curl -F myfile=@test_0.JPEG http://images.example:8080/upload" in page.text
    assert "127.0.0.1" not in page.text


def test_a_host_name_is_no_markup(service):
    page = service.client.get("/docs", headers={"Host": 'x"><script>alert(1)</script>'})
    assert "<script" not in page.text


def test_keys_are_told_of_where_they_are_wanted(make, page):
    assert 'id="keys"' not in page.text
    service = make(api_keys="anna:" + "s" * 20)
    assert 'id="keys"' in service.client.get("/docs", headers={"X-API-Key": "s" * 20}).text
    assert service.client.get("/docs").status_code == 401


def test_the_form_leads_to_it(service):
    assert 'href="/docs"' in service.client.get("/").text


def test_prose_is_escaped_and_has_code_and_paragraphs():
    assert prose("a `<b>` & c\n\nd") == "<p>a <code>&lt;b&gt;</code> &amp; c</p><p>d</p>"
