"""What a drill calls lost, doubled and wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from irs import errors
from irs.domain import keys
from irs.drill import books, pictures
from irs.drill.books import Books
from irs.drill.client import Reply
from irs.drill.load import Upload


class World:
    """A service that answers what it is told to."""

    def __init__(self) -> None:
        self.jobs: dict[str, Reply] = {}
        self.objects: dict[str, bytes] = {}
        self.inputs: list[str] = []
        self.away = False
        self.uploads: list[Upload] = []
        self.books = Books(jobs=self, inputs=self, outputs=self)

    def job(self, job_id: str) -> Reply:
        if self.away:
            raise ConnectionRefusedError("away")
        return self.jobs.get(job_id, Reply(status=200, said={"id": job_id, "status": "queued"}))

    def keys(self) -> Iterator[str]:
        return iter(self.inputs)

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        if key not in self.objects:
            raise errors.NotFound(key)
        return self.objects[key], "tag"

    def upload(self, *, good: bool = True, answer: str = "done") -> str:
        """One upload that was stored; ``answer``: ``done``, ``later`` or ``nothing``. Its id."""
        job_id, number = keys.new_id(), len(self.uploads)
        picture = pictures.draw(f"d-{number}.png", number, good=good)
        upload = Upload(picture=picture, began=time.monotonic(), ended=time.monotonic())
        said = {"id": job_id, **self.result(picture)} if answer == "done" else {"id": job_id}
        if answer != "nothing":
            upload.reply = Reply(status=200 if answer == "done" else 202, said=said)
        self.uploads.append(upload)
        self.inputs.append(f"{job_id}/{picture.name}")
        return job_id

    def finish(self, job_id: str, **changed: Any) -> None:
        """The job has its result."""
        number = [key.partition("/")[0] for key in self.inputs].index(job_id)
        said = {"id": job_id, **self.result(self.uploads[number].picture), **changed}
        self.jobs[job_id] = Reply(status=200, said=said)
        self.objects[keys.output_key(job_id)] = json.dumps(said).encode()

    @staticmethod
    def result(picture: pictures.Picture) -> dict[str, Any]:
        if not picture.good:
            return {"status": "failed", "error": {"code": "undecodable"}}
        return {"status": "done", "label": "cat", "input": {"sha256": picture.sha256}}

    def settle(self) -> bool:
        self.books.enter(self.uploads)
        return self.books.settled()

    def found(self) -> list[str]:
        return [*self.books.lost(), *self.books.duplicated(self.uploads), *self.books.wrong()]


@pytest.fixture
def world() -> World:
    return World()


def test_what_has_its_result_is_neither_lost_nor_doubled_nor_wrong(world: World) -> None:
    for good in (True, False):
        for answer in ("done", "later", "nothing"):
            world.finish(world.upload(good=good, answer=answer))
    assert world.settle()
    assert world.found() == []
    assert len(world.books.accepted) == len(world.books.results) == 6


def test_accepted_and_without_a_result_is_lost(world: World) -> None:
    job_id = world.upload(answer="later")
    assert not world.settle()
    assert world.found() == [f"{job_id} (d-0.png) was accepted and has no result"]


def test_a_service_that_is_away_is_asked_again(world: World) -> None:
    world.finish(world.upload())
    world.away = True
    assert not world.settle()
    world.away = False
    assert world.settle()


def test_who_had_no_answer_is_looked_up_in_the_bucket(world: World) -> None:
    job_id = world.upload(answer="nothing")
    world.inputs.append(f"{keys.new_id()}/somebody-else.png")
    assert not world.settle()
    assert set(world.books.accepted) == {job_id}
    assert books.unanswered(world.uploads) == ["d-0.png had no answer: "]


def test_a_job_that_could_not_be_stored_or_sent_is_looked_up_as_well(world: World) -> None:
    """The answer names it: perhaps only the answer of storage or queue was lost."""
    stored, not_stored = world.upload(), world.upload()
    for upload, job_id in zip(world.uploads, (stored, not_stored), strict=True):
        upload.reply = Reply(status=503, said={"id": job_id, "code": "unavailable"})
    del world.inputs[1]
    world.settle()
    assert set(world.books.accepted) == {stored}


def test_a_refusal_is_not_accepted(world: World) -> None:
    world.upload()
    world.uploads[0].reply = Reply(status=503, said={"title": "too many"})
    assert world.settle()
    assert not world.books.accepted
    assert books.refused(world.uploads) == []


def test_a_good_image_is_not_refused_for_good(world: World) -> None:
    for good in (True, False):
        world.upload(good=good)
        world.uploads[-1].reply = Reply(status=401, said={"detail": "send an API key"})
    assert books.refused(world.uploads) == ["d-0.png was refused with 401: send an API key"]


def test_two_jobs_of_one_upload_are_one_too_many(world: World) -> None:
    world.finish(world.upload(answer="nothing"))
    second = keys.new_id()
    world.inputs.append(f"{second}/d-0.png")
    world.jobs[second] = replace(world.jobs[world.inputs[0].partition("/")[0]])
    world.objects[keys.output_key(second)] = b"{}"
    assert world.settle()
    (line,) = world.found()
    assert line.startswith("d-0.png became two jobs")


@pytest.mark.parametrize("later", [b"another", None], ids=["changed", "gone"])
def test_a_result_stays_as_it_was_first_seen(world: World, later: bytes | None) -> None:
    job_id = world.upload()
    world.finish(job_id)
    assert world.settle()
    if later is None:
        del world.objects[keys.output_key(job_id)]
    else:
        world.objects[keys.output_key(job_id)] = later
    assert world.found() == [f"the result of {job_id} has changed"]


def test_a_client_must_be_told_what_is_stored(world: World) -> None:
    job_id = world.upload()
    world.finish(job_id, label="dog")
    assert world.settle()
    (line,) = world.found()
    assert line.startswith("d-0.png was told ('done', 'cat'")


@pytest.mark.parametrize(("good", "changed", "expected"), [
    (True, {"input": {"sha256": "0" * 64}}, "has the answer to another image"),
    (True, {"input": None}, "has the answer to another image"),
    (True, {"status": "failed", "error": {"code": "dead_letter"}}, "a good image, is failed"),
    (False, {"status": "done", "error": None}, "a broken image, is done"),
])
def test_a_result_must_be_the_answer_to_its_image(
        world: World, good: bool, changed: dict[str, Any], expected: str) -> None:
    job_id = world.upload(good=good, answer="later")
    world.finish(job_id, **changed)
    assert world.settle()
    (line,) = world.found()
    assert expected in line
