"""The running service against its own OpenAPI document. `make fuzz` runs the same for longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from irs.domain import journal
from tests.conformity import Conformity, events
from tests.integration.conftest import Answer, Service, Web, form, until

pytestmark = pytest.mark.integration

CONFIG = Path(__file__).with_name("schemathesis.toml")
SECRET = "k" * 24
#: An id of nothing.
STRANGER = "4c1b761c-07f4-4ba6-902c-23274fdd951a"
KEY = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud, api_keys=f"tests:{SECRET}", instance_price=0.1)


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    """With a worker, so that there are results to be described."""
    web = service.web()
    service.worker()
    return web


@pytest.fixture(scope="module")
def tree(web: Web) -> dict[str, Any]:
    return web.call("GET", "/openapi.json", headers=KEY).json


def test_answers_are_as_the_document_says(web, tree, photos):
    book = Conformity(tree)

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        answer = web.call(method, path, body, {
            **KEY, **{name.replace("_", "-"): value for name, value in headers.items()}})
        found = book.faults(method, path.partition("?")[0], answer.status, answer.headers, answer.body)
        assert not found
        return answer

    body, kind = form(("coffee.jpg", photos["coffee"]), ("notes.txt", b"not an image"))
    both = ask("POST", "/upload", body, Content_Type=kind, Accept="application/json")
    assert [result["status"] for result in both.json["results"]] == ["done", "refused"]
    for wait, status in (("wait=30", 200), ("wait=0", 202)):
        answer = ask("POST", "/v1/images?name=coffee.jpg", photos["coffee"], Content_Type="image/jpeg",
                     Prefer=wait)
        assert answer.status == status
    assert ask("GET", answer.json["location"], Prefer="wait=30").json["label"] == "espresso"
    told = events(ask("POST", "/v1/events", json.dumps({"ids": [answer.json["id"], STRANGER]}).encode(),
                      Content_Type="application/json").body)
    assert {event["event"] for event in told} >= {"result", "unknown"}
    assert told[-1] == {"event": "end", "data": '{"left":0}'}
    assert ask("GET", f"/v1/images/{STRANGER}").status == 404
    assert ask("POST", "/v1/images", b"not an image", Content_Type="image/png").status == 415
    assert ask("POST", "/v1/images", b"", Content_Type="image/png").json["code"] == "no_file"
    assert ask("GET", "/v1/stats", Authorization="Bearer wrong").status == 401
    for path in ("/", "/docs", "/healthz", "/metrics", "/openapi.json", "/readyz", "/upload"):
        assert ask("GET", path).status == 200


def test_stats_tell_of_the_real_queue_and_of_the_scalers_journal(web, service):
    from irs.aws.objects import Objects
    from irs.domain.journal import Journal

    def told() -> Any:
        return web.call("GET", "/v1/stats", headers=KEY).json

    # Messages of jobs that are done are deleted a little later, in batches.
    empty = {"visible": 0, "in_flight": 0, "delayed": 0}
    until(lambda: empty.items() <= told()["queue"].items(), 15)
    assert told()["fleet"] is None
    decision = {"at": "2026-11-22T21:30:00.123456+00:00", "reason": "backlog", "policy": "predictive",
                "running": 3, "pending": 0, "stopped": 0, "draining": 0, "min": 0, "max": 19,
                "service_seconds": 0.03, "boot_seconds": None}
    Objects(service.settings, service.settings.output_bucket).put(
        journal.key(service.settings.cluster), Journal(epoch=1, holder="s", decision=decision).to_json())

    assert until(lambda: told()["fleet"], 15)["at"] == "2026-11-22T21:30:00.123Z"
    assert told()["cost"]["dollars_per_hour"] == pytest.approx(0.3)


def test_schemathesis_finds_nothing(web, tree, tmp_path, request):
    examples = request.config.getoption("examples", default=5)
    report = _schemathesis(web, tmp_path, examples, request.config.getoption("fuzz_seed", default=1))
    operations = [(path, method) for path, item in tree["paths"].items() for method in item]
    # It leaves out the address that it has the document of, and is told to leave out another.
    assert report["operations"]["tested"] >= len(operations) - 2
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    assert report["test_cases"]["generated"] > 10 * len(operations)


def _schemathesis(web: Web, directory: Path, examples: int, seed: int) -> Mapping[str, Any]:
    """Its report; fails the test with what it says where it finds anything."""
    target = directory / "report.json"
    # In a process of its own: it brings a pytest plugin and hypothesis settings.
    done = subprocess.run([
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
        "run", f"{web.url}/openapi.json", "--header", f"Authorization: Bearer {SECRET}",
        # AWS's own protocol, which its own clients speak to it in test_sources.py.
        "--exclude-operation-id", "post_index",
        "--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "30",
        "--report", "json", "--report-json-path", str(target),
    ], cwd=directory, env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    return json.loads(target.read_text())
