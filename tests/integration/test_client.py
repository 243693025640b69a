"""The client and its commands against the real service, and every example of docs/client.md."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irs.client import AsyncClient, Client, NotFound, Refused, Status, TimedOut
from tests.integration.conftest import ROOT, Service, Web, Worker, until

pytestmark = pytest.mark.integration

LABELS = {"coffee": "espresso", "rocket": "missile"}
CLIENT_MD = (ROOT / "docs/client.md").read_text("utf-8")
#: Each example of Python with the output that the page gives for it.
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n\n```\n(.*?)^```", CLIENT_MD, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud)


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web()


@pytest.fixture(scope="module")
def worker(service: Service) -> Worker:
    return service.worker()


@pytest.fixture
def folder(tmp_path: Path, photos: dict[str, bytes]) -> Path:
    """Two photographs and a file that is called like one."""
    for name in LABELS:
        (tmp_path / f"{name}.jpg").write_bytes(photos[name])
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    return tmp_path


def irs(web: Web, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, web=web), capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})


def command(verb: str, *arguments: str, web: Web) -> list[str]:
    return [sys.executable, "-m", "irs", verb, "--url", web.url, *arguments]


@pytest.mark.parametrize(("code", "told"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_do_what_the_page_says(web, worker, folder: Path, code: str, told: str) -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(code.replace("http://127.0.0.1:8080", web.url), {"__name__": "example"})
    assert shown.getvalue() == told


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == CLIENT_MD.count("```python") >= 5


def test_everything_that_can_be_an_image(web, worker, folder: Path, photos: dict[str, bytes]) -> None:
    path = folder / "coffee.jpg"
    read, write = os.pipe()
    os.write(write, photos["coffee"][:1000])
    with Client(web.url) as client, path.open("rb") as file, os.fdopen(read, "rb") as pipe:
        os.close(write)
        labels = {client.classify(image).label for image in (str(path), path, photos["coffee"], file)}
        with pytest.raises(Refused) as refused:
            client.classify(pipe)  # not the whole image, and sent all the same: a pipe cannot be rewound
    assert labels == {"espresso"}
    assert (refused.value.code, refused.value.status) == ("undecodable", 422)


def test_a_job_is_sent_followed_and_found_again(web, worker, folder: Path) -> None:
    async def body() -> Any:
        async with AsyncClient(web.url) as client:
            job = await client.submit("rocket.jpg", name="der Mond, (1).jpg")
            result = await client.wait(job.id)
            return job, result, await client.get(job.id)

    job, result, seen = asyncio.run(body())
    assert (result.id, result.label, result.image) == (job.id, "missile", "der Mond, (1).jpg")
    assert (seen.status, seen.result) == (Status.DONE, result)
    shown = irs(web, "results", job.id, "--json")
    assert (shown.returncode, json.loads(shown.stdout)["label"], shown.stderr) == (0, "missile", "")


def test_what_nobody_works_at_times_out_and_names_its_job(cloud, make_service, photos) -> None:
    idle = make_service(cloud).web()
    with Client(idle.url) as client:
        with pytest.raises(TimedOut) as late:
            client.classify(photos["coffee"], wait=1)
        assert client.get(late.value.id).status is Status.QUEUED
        with pytest.raises(NotFound):
            client.get("nonsense")


def test_a_folder_is_classified_and_a_killed_command_goes_on(web, worker, folder: Path, photos) -> None:
    inner = folder / "in" / "ner"
    inner.mkdir(parents=True)
    for number in range(30):
        (inner / f"p{number}").write_bytes(photos["coffee"])  # no suffix, and an image all the same
    out = folder / "labels.csv"
    first = subprocess.Popen(
        command("classify", str(folder), "--out", str(out), "--parallel", "2", web=web), text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: out.exists() and out.read_bytes().count(b"\n") > 3, what="rows")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = out.read_text().count("\n")
    with out.open("a") as file:
        file.write('"half')  # as a kill in the middle of a row leaves it
    second = irs(web, "classify", str(folder), "--out", str(out), "--json")
    tally = json.loads(second.stdout)
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert (second.returncode, tally["skipped"]) == (1, before - 1)
    assert tally["done"] + tally["failed"] == 33 - tally["skipped"] < 33
    assert sorted(row["file"] for row in rows) == sorted(
        str(path) for path in folder.rglob("*") if path.is_file() and path != out)
    assert {Path(row["file"]).stem: row["label"] for row in rows if Path(row["file"]).parent == folder} == {
        **LABELS, "broken": ""}
    third = irs(web, "classify", str(folder), "--out", str(out))
    assert (third.returncode, third.stdout) == (1, "")
    assert third.stderr.startswith("0 done, 0 failed, 33 were there already, 1 of them failed, ")


def test_status_says_whether_it_is_ready(web) -> None:
    shown = irs(web, "status")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[0] == f"Service       {web.url}: ready"
