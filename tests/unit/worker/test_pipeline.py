"""From an image to a stored, announced result; every way in which that can go wrong."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from irs import errors
from irs.audit import cancelling
from irs.domain import keys
from irs.domain.images import Preprocess
from irs.domain.jobs import Job, ModelInfo, Result, Status
from irs.results import announce
from irs.results.announce import reply_prefix
from irs.results.store import ResultStore
from irs.settings import Settings
from irs.testing import FaultPlan, MemoryObjects, MemoryQueue
from irs.worker import decoding
from irs.worker import pipeline as pipeline_module
from irs.worker.device import Ending
from irs.worker.meter import Meter
from irs.worker.metrics import Metrics
from irs.worker.pipeline import Pipeline, Postponed
from irs.worker.tally import Tally

SETTINGS = Settings.model_construct(max_batch=2, max_image_bytes=100_000)
LAST = SETTINGS.max_receive_count
REPLY = f"{reply_prefix(SETTINGS)}1"


class Engine:
    """Sees a cat in everything, or raises."""

    name = "none"
    info = ModelInfo(name="none", version="sha256:0", engine="none")
    preprocess = Preprocess(resize=8, crop=8)
    labels = ("cat", "dog")

    def __init__(self) -> None:
        self.images = 0
        self.error: Exception | None = None

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.images += len(batch)
        if self.error:
            raise self.error
        return np.tile(np.array([0.75, 0.25], np.float32), (len(batch), 1))


class World:
    """A pipeline, and what is around it."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.inputs, self.outputs = MemoryObjects("in"), MemoryObjects("out")
        self.faults = FaultPlan()
        self.queues: dict[str, MemoryQueue] = {}
        self.pipeline: Pipeline
        self.metrics: Metrics
        self.tally = Tally()

    def queue(self, _settings: Any, name: str) -> MemoryQueue:
        return self.queues.setdefault(name, MemoryQueue(name))

    def job(self, data: bytes | None = None) -> Job:
        job_id = keys.new_id()
        key = keys.input_key(job_id, "cat.png")
        if data is not None:
            self.inputs.put(key, data)
        return Job(id=job_id, image="cat.png", key=key, received=datetime.now(UTC))

    def stored(self, job: Job) -> Result | None:
        found = self.outputs.stored.get(keys.output_key(job.id))
        return Result.from_json(found.data) if found else None

    def announced(self, queue: str = SETTINGS.output_queue) -> list[str]:
        self.pipeline.announced()
        bodies = [json.loads(b) for b in self.queues[queue].bodies()] if queue in self.queues else []
        return [item["id"] for body in bodies for item in (body if isinstance(body, list) else [body])]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    ports = {SETTINGS.input_bucket: world.inputs, SETTINGS.output_bucket: world.outputs}
    monkeypatch.setattr(pipeline_module, "Objects",
                        lambda settings, bucket: world.faults.wrap(ports[bucket]))
    monkeypatch.setattr(pipeline_module, "ResultStore", lambda settings: ResultStore(
        settings, objects=world.faults.wrap(world.outputs)))
    monkeypatch.setattr(announce, "Queue", world.queue)
    world.metrics = Metrics(Meter(full=2))
    world.pipeline = Pipeline(SETTINGS, world.engine, instance="i-1", metrics=world.metrics,
                              tally=world.tally)
    yield world
    world.pipeline.close()


def png(size: int = 20) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), "red").save(out, "PNG")
    return out.getvalue()


def test_done_is_stored_and_announced_to_both(world: World) -> None:
    job = world.job(png())
    result = world.pipeline.classify(job, attempt=1, reply_to=REPLY)
    assert world.stored(job) == result
    assert (result.status, result.label, result.attempts, result.instance) == (Status.DONE, "cat", 1, "i-1")
    assert result.model == Engine.info
    assert (result.input.format, result.input.width) == ("PNG", 20)
    assert set(result.times) == {"received", "started", "finished"}
    assert world.announced() == world.announced(REPLY) == [job.id]


@pytest.mark.parametrize(("data", "code"), [
    (b"\0" * 100, "unsupported_format"), (png(200)[:60], "undecodable"), (b"x" * 100_001, "too_large")])
def test_a_refused_image_is_a_failed_result(world: World, data: bytes, code: str) -> None:
    job = world.job(data)
    result = world.pipeline.classify(job, attempt=1, reply_to=None)
    assert result.status is Status.FAILED
    assert result.error.code == code
    assert world.stored(job) == result
    assert world.announced() == [job.id]
    assert world.engine.images == 0


def test_a_missing_image_is_a_failed_result(world: World) -> None:
    job = world.job()
    assert world.pipeline.classify(job, attempt=1, reply_to=None).error.code == "input_missing"
    assert world.announced() == [job.id]


@pytest.mark.parametrize("error", [
    errors.Unreachable("reset"), errors.Throttled("slow"), errors.AccessDenied("no"),
    errors.NoBucket("no bucket")])
@pytest.mark.parametrize("attempt", [1, LAST])
def test_a_fault_of_the_cloud_postpones_and_leaves_no_result_not_even_on_the_last_receive(
        world: World, error: errors.CloudError, attempt: int, events: list[Any]) -> None:
    job = world.job(png())
    # On a later receive the first look is for a result that an earlier one has left.
    world.faults.fail("get", 1 if attempt == 1 else 2, error)
    with pytest.raises(Postponed) as caught:
        world.pipeline.classify(job, attempt=attempt, reply_to=REPLY)
    assert caught.value.passing
    assert world.stored(job) is None
    assert world.announced() == world.announced(REPLY) == []
    assert not any("exc_info" in event for event in events)
    assert world.pipeline.classify(job, attempt=2, reply_to=None).status is Status.DONE


def test_an_unexpected_error_postpones_until_the_last_receive_and_then_is_the_result(world: World) -> None:
    job = world.job(png())
    world.engine.error = RuntimeError("a defect")
    for attempt in range(1, LAST):
        with pytest.raises(Postponed) as caught:
            world.pipeline.classify(job, attempt=attempt, reply_to=None)
        assert not caught.value.passing
        assert world.stored(job) is None
    result = world.pipeline.classify(job, attempt=LAST, reply_to=None)
    assert result.error.code == "gave_up"
    assert result.attempts == LAST
    assert world.stored(job) == result
    assert world.announced() == [job.id]


def test_on_a_lost_gpu_nothing_is_said_about_the_image_and_the_worker_ends_once(world: World) -> None:
    ended: list[str] = []
    world.pipeline._ending = Ending(lambda: ended.append("drains"))
    world.engine.error = errors.DeviceLost("the GPU is lost")
    jobs = [world.job(png()), world.job(png())]
    with capture_logs() as lines:
        for job in jobs:
            with pytest.raises(Postponed, match="lost") as caught:
                world.pipeline.classify(job, attempt=LAST, reply_to=None)
            assert not caught.value.passing, "another process may do it, this one not"
            assert world.stored(job) is None
    assert ended == ["drains"]
    assert [line["why"] for line in lines if line["event"] == "worker.device_lost"] == ["the GPU is lost"]


def test_an_image_that_takes_too_long_to_decode_is_a_failed_result(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(decoding, "LOOK", 0.01)
    world.pipeline._decoders = decoding.Decoders(processor=0.1, stuck=lambda: None)

    def forever(*_: Any) -> None:
        while not ends.is_set():
            sum(range(1000))

    job, next_job = world.job(png()), world.job(png())
    with monkeypatch.context() as patch:
        patch.setattr(pipeline_module.images, "decode", forever)
        assert world.pipeline.classify(job, attempt=1, reply_to=None).error.code == "too_large"
    try:
        assert world.pipeline.classify(next_job, attempt=1, reply_to=None).status is Status.DONE
    finally:
        ends.set()


def test_one_bad_image_fails_alone(world: World) -> None:
    bad, good = world.job(b"GIF89a"), world.job(png())
    assert world.pipeline.classify(bad, attempt=1, reply_to=None).status is Status.FAILED
    assert world.pipeline.classify(good, attempt=1, reply_to=None).status is Status.DONE


def test_a_redelivery_announces_the_stored_result_again_and_classifies_nothing(world: World) -> None:
    job = world.job(png())
    first = world.pipeline.classify(job, attempt=1, reply_to=REPLY)
    world.inputs.delete(job.key)
    images = world.engine.images
    assert world.pipeline.classify(job, attempt=2, reply_to=REPLY) == first
    assert world.engine.images == images
    assert world.announced(REPLY) == [job.id, job.id]


def test_two_messages_of_one_job_have_one_result(world: World) -> None:
    job = world.job(png())
    first = world.pipeline.classify(job, attempt=1, reply_to=None)
    assert world.pipeline.classify(job, attempt=1, reply_to=None) == first


def test_what_breaks_a_model_on_trial_is_done_by_the_fleets(world: World) -> None:
    trial = Engine()
    trial.info = ModelInfo(name="trial", version="sha256:1", engine="none")
    trial.error = RuntimeError("not even the first image")
    settings = Settings.model_construct(**dict(SETTINGS) | {"canary_share": 1.0})
    pipeline = Pipeline(settings, world.engine, instance="i-1", trial=trial)
    job = world.job(png())
    with pytest.raises(Postponed):
        pipeline.classify(job, attempt=1, reply_to=None)
    assert trial.images
    result = pipeline.classify(job, attempt=2, reply_to=None)
    assert (result.status, result.model) == (Status.DONE, world.engine.info)
    trial.error = None
    other = pipeline.classify(world.job(png()), attempt=1, reply_to=None)
    pipeline.close()
    assert other.as_dict()["model"] == {"name": "trial", "version": "sha256:1", "engine": "none",
                                        "canary": True}


@pytest.mark.parametrize("attempt", [1, 2, LAST])
def test_a_cancelled_job_costs_no_inference_and_stays_cancelled(
        world: World, events: list[Any], attempt: int) -> None:
    job = world.job(png())
    told: list[Any] = []
    cancelled = cancelling.cancel(job.id, world.inputs, ResultStore(SETTINGS, objects=world.outputs),
                                  lambda *announced: told.append(announced))
    assert world.pipeline.classify(job, attempt=attempt, reply_to=REPLY) == cancelled == world.stored(job)
    assert world.engine.images == 0
    assert world.announced(REPLY) == [job.id]
    (finished,) = [event for event in events if event["event"] == "job.finished"]
    assert (finished["status"], finished["attempt"]) == ("cancelled", attempt)
    counted = world.metrics.registry.get_sample_value
    assert counted("irs_worker_images_total", {"status": "failed"}) == 0
    assert counted("irs_worker_images_total", {"status": "cancelled"}) == (1 if attempt == 1 else 0)


def test_a_job_that_is_cancelled_while_it_runs_is_cancelled(world: World) -> None:
    job = world.job(png())
    predict = world.engine.predict

    def meanwhile(batch: Any) -> Any:
        cancelling.cancel(job.id, world.inputs, ResultStore(SETTINGS, objects=world.outputs),
                          lambda *announced: None)
        return predict(batch)

    world.engine.predict = meanwhile  # type: ignore[method-assign]
    assert world.pipeline.classify(job, attempt=1, reply_to=REPLY).status is Status.CANCELLED
    assert world.stored(job).status is Status.CANCELLED


@pytest.mark.parametrize("attempt", [1, LAST])
def test_a_result_that_cannot_be_stored_postpones_however_often_it_was_tried(
        world: World, attempt: int) -> None:
    job = world.job(png())
    world.faults.fail_randomly("put", 1, errors.Unreachable("down"))
    with pytest.raises(Postponed):
        world.pipeline.classify(job, attempt=attempt, reply_to=None)
    assert world.stored(job) is None
    assert world.announced() == []


def test_a_write_whose_answer_was_lost_is_announced_at_the_next_receive(world: World) -> None:
    job = world.job(png())
    world.faults.fail("put", 1, errors.Unreachable("timeout"), after=True)
    with pytest.raises(Postponed):
        world.pipeline.classify(job, attempt=1, reply_to=None)
    images = world.engine.images
    assert world.pipeline.classify(job, attempt=2, reply_to=None) == world.stored(job)
    assert world.engine.images == images
    assert world.announced() == [job.id]


def test_a_lost_announcement_is_no_failure(world: World) -> None:
    job = world.job(png())
    world.queue(None, SETTINGS.output_queue).send_batch = _down  # type: ignore[method-assign]
    assert world.pipeline.classify(job, attempt=1, reply_to=REPLY).status is Status.DONE
    assert world.announced(REPLY) == [job.id]


def _down(*_: Any) -> Any:
    raise errors.Unreachable("down")


def test_activity_is_noted_at_begin_and_end(world: World) -> None:
    before = world.pipeline.last_activity
    with pytest.raises(Postponed):
        world.faults.fail("get", 1, errors.Unreachable("down"))
        world.pipeline.classify(world.job(png()), attempt=1, reply_to=None)
    assert world.pipeline.last_activity > before


def test_no_log_line_above_debug_names_the_users_file(
        world: World, events: list[Any]) -> None:
    world.pipeline.classify(world.job(png()), attempt=1, reply_to=None)
    world.pipeline.classify(world.job(b"?"), attempt=1, reply_to=None)
    world.pipeline.classify(world.job(), attempt=1, reply_to=None)
    lines = [event for event in events if event["log_level"] != "debug"]
    assert lines
    assert "cat.png" not in str(lines)


def test_what_came_out_of_the_engine_is_counted(world: World) -> None:
    for data in (png(), b"no image"):
        world.pipeline.classify(world.job(data), attempt=1, reply_to=None)
    assert sum(world.tally.infers) == 1


def test_each_stage_is_timed_also_where_it_fails(world: World) -> None:
    world.pipeline.classify(world.job(png()), attempt=1, reply_to=None)
    world.pipeline.classify(world.job(b"?"), attempt=1, reply_to=None)

    def read(name: str, **labels: str) -> float | None:
        return world.metrics.registry.get_sample_value(name, labels)

    assert [read("irs_worker_stage_seconds_count", stage=stage)
            for stage in ("fetch", "decode", "infer", "store")] == [2, 2, 1, 2]
    assert read("irs_worker_images_total", status="done") == 1
    assert read("irs_worker_images_total", status="failed") == 1
    assert read("irs_worker_batch_images_sum") == 1
    assert (read("irs_worker_engine_seconds_total") or 0) > 0
    assert read("irs_worker_running_images") == 0


def test_what_is_tried_again_is_counted_by_its_reason(world: World) -> None:
    def read(name: str, **labels: str) -> float | None:
        return world.metrics.registry.get_sample_value(name, labels)

    def reasons() -> list[float | None]:
        return [read("irs_worker_retries_total", reason=reason) for reason in ("cloud", "fault", "alone")]

    assert reasons() == [0, 0, 0]
    world.faults.fail("get", 1, errors.Unreachable("down"))
    with pytest.raises(Postponed):
        world.pipeline.classify(world.job(png()), attempt=1, reply_to=None)
    world.engine.error = RuntimeError("a defect")
    job = world.job(png())
    for attempt in range(1, LAST):
        with pytest.raises(Postponed):
            world.pipeline.classify(job, attempt=attempt, reply_to=None)
    assert reasons() == [1, LAST - 1, 0]
    assert read("irs_worker_suspects_total") == 2, "from its third receive on"
    assert (read("irs_worker_engine_failures_total") or 0) >= LAST - 1
    world.outputs.put(f"suspects/{job.id}", b"")  # of another worker, which has ended since
    world.pipeline._suspects._mine.clear()
    with pytest.raises(Postponed):
        world.pipeline.classify(job, attempt=LAST - 1, reply_to=None)
    assert reasons() == [1, LAST - 1, 1]


def test_a_message_s_wait_is_counted_at_its_first_receive(world: World) -> None:
    world.pipeline.taken(1, 7.0)
    world.pipeline.taken(1, None)  # SQS did not say when it was sent
    world.pipeline.taken(2, 90.0)
    read = world.metrics.registry.get_sample_value
    assert read("irs_worker_queue_wait_seconds_count") == 1
    assert read("irs_worker_queue_wait_seconds_sum") == 7.0
    assert read("irs_worker_redelivered_messages_total") == 1
