"""What a message may ask of Celery: nothing but the task."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from celery import canvas
from celery.app import trace
from celery.exceptions import InvalidTaskError
from kombu.message import Message

from irs.domain.tasks import CLASSIFY
from irs.worker.request import LINKS, Request

JOB = "11111111-1111-4111-8111-111111111111"
LINK = {"task": "irs.classify", "args": [], "kwargs": {}, "options": {"queue": "theirs"},
        "subtask_type": None, "immutable": False}


def message(headers: dict[str, Any], body: Any = None) -> Message:
    return Message(body=json.dumps([[], {}, {}] if body is None else body), headers=headers,
                   content_type="application/json", content_encoding="utf-8", accept={"application/json"})


@pytest.fixture
def app() -> Any:
    import irs.worker.tasks  # noqa: F401 - registers the task
    from irs.celery import app

    app.finalize()
    return app


def test_a_plain_message_is_taken(app: Any) -> None:
    request = Request(message({"id": JOB, "task": CLASSIFY, "shadow": "another name"}), app=app)
    assert (request.id, request.name) == (JOB, CLASSIFY)


@pytest.mark.parametrize("task_id", [None, 5, ["x"], "x" * 101, "a\nworker.ready"])
def test_an_id_that_is_no_short_text_is_refused(app: Any, task_id: Any) -> None:
    with pytest.raises(InvalidTaskError):
        Request(message({"id": task_id, "task": CLASSIFY}), app=app)


def test_the_first_protocol_is_refused(app: Any) -> None:
    with pytest.raises(InvalidTaskError):
        Request(message({}), app=app, decoded=True, headers={"id": JOB, "task": CLASSIFY},
                body=([], {}, {}))


def test_a_revoked_task_runs_all_the_same(app: Any) -> None:
    from celery.worker import state

    request = Request(message({"id": JOB, "task": CLASSIFY}), app=app)
    state.revoked.add(JOB)
    try:
        assert not request.revoked()
    finally:
        state.revoked.discard(JOB)


def test_the_task_uses_it(app: Any) -> None:
    assert app.tasks[CLASSIFY].Request == "irs.worker.request:Request"


def test_nothing_that_watches_is_shown_arguments_or_a_fault_s_text(app: Any) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    request = Request(
        message({"id": JOB, "task": CLASSIFY, "argsrepr": "secret.jpg", "kwargsrepr": "secret.jpg"},
                [[JOB, f"{JOB}/secret.jpg"], {"name": "secret.jpg"}, {}]),
        app=app, task=app.tasks[CLASSIFY],
        eventer=SimpleNamespace(enabled=True, send=lambda kind, **fields: sent.append((kind, fields))))
    for safe in (True, False):
        shown = request.info(safe=safe)
        assert shown["id"] == JOB
        assert JOB in shown["args"]
        assert "secret" not in str(shown)
    assert "secret" not in repr(request) + str(request)
    request.send_event("task-failed", exception=f"NotFound('no s3://b/{JOB}/secret.jpg')",
                       traceback="… secret.jpg")
    request.send_event("task-started")
    assert sent == [("task-failed", {"uuid": JOB, "exception": "NotFound", "traceback": None}),
                    ("task-started", {"uuid": JOB})]


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_message_wants_done_after_the_task_is_forgotten(
        app: Any, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Traced as a worker does; a task that does not forget shows that the links would run."""
    from irs.worker import pipeline, tasks

    class Pipeline:
        def classify(self, job: Any, *, attempt: int, reply_to: str | None) -> Any:
            if fails:
                raise RuntimeError("a defect")
            return self

        def announcement(self) -> dict[str, Any]:
            return {}

    sent: list[Any] = []

    class Sent:
        def apply_async(self, *args: Any, **options: Any) -> None:
            sent.append(args)

        freeze = clone = set_parent_id = apply_async

    monkeypatch.setattr(canvas, "maybe_signature", lambda *args, **kwargs: Sent())
    monkeypatch.setattr(app.backend, "_call_task_errbacks", lambda *args, **kwargs: sent.append(args))
    monkeypatch.setattr(pipeline, "current", Pipeline)

    def run() -> None:
        task = app.tasks[CLASSIFY]
        tracer = trace.build_tracer(CLASSIFY, task, app=app)
        tracer(JOB, [JOB, f"{JOB}/a.jpg"], {"name": "a.jpg", "received": "2026-01-01T12:00:00Z"},
               {"id": JOB, "delivery_info": {}, **{name: [LINK] for name in LINKS}})

    run()
    assert sent == []
    monkeypatch.setattr(tasks, "unlink", lambda context: None)
    run()
    assert sent, "the test would not see a link that is followed"
