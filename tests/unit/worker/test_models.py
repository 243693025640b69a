"""A model on trial beside the fleet's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from irs import errors
from irs import settings as settings_module
from irs.domain import canary
from irs.domain.images import Preprocess
from irs.domain.jobs import ModelInfo
from irs.model import engine as engines
from irs.settings import Settings
from irs.worker import models
from irs.worker.models import Models

JOB = "11111111-1111-4111-8111-111111111111"


class Engine:
    name = "none"
    preprocess = Preprocess(resize=4, crop=4)
    labels = ("cat", "dog")

    def __init__(self, name: str) -> None:
        self.info = ModelInfo(name=name, version="sha256:0", engine="none")

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.tile(np.array([0.75, 0.25], np.float32), (len(batch), 1))


def build(**values: Any) -> Settings:
    return settings_module.build({"canary_model": "resnet18", "canary_share": 0.3, **values})


@pytest.fixture
def both() -> Iterator[Models]:
    made = Models(build(), Engine("fleet"), Engine("trial"))
    yield made
    made.close()


def test_each_job_has_its_model_and_a_second_try_the_fleets(both: Models) -> None:
    ids = [f"{number:08x}-1111-4111-8111-111111111111" for number in range(50)]
    for job in ids:
        trial = canary.takes(job, share=0.3, attempt=1)
        info = both.choose(job, 1).info
        assert (info.name, info.canary) == (("trial", True) if trial else ("fleet", False))
        assert both.choose(job, 2).info.name == "fleet"
    assert {both.choose(job, 1).info.name for job in ids} == {"fleet", "trial"}


def test_a_closed_one_has_answered_what_it_took(both: Models) -> None:
    answers = [both.choose(JOB, attempt).batcher.submit(bytes(48)) for attempt in (1, 2)]
    both.close()
    assert [answer.result(timeout=0)[0].label for answer in answers] == ["cat", "cat"]


@pytest.mark.parametrize("values", [{"canary_model": None}, {"canary_share": 0}])
def test_without_a_name_or_a_share_nothing_is_loaded(
        values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "load", lambda *_: pytest.fail("loaded"))
    assert models.trial(build(**values), lambda *_: b"") is None


def test_what_is_loaded_is_the_canarys(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr(engines, "load", lambda settings, _: asked.append(settings) or Engine("trial"))
    models.trial(build(model="vgg11", model_sha256="a" * 64, canary_weights="x.pth"), lambda *_: b"")
    (settings,) = asked
    assert (settings.model, settings.model_weights, settings.model_sha256) == ("resnet18", "x.pth", None)


def test_a_canary_that_cannot_be_loaded_costs_nobody_an_answer(
        monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    def refuse(*_: object) -> None:
        raise errors.ModelError("no such weights")

    monkeypatch.setattr(engines, "load", refuse)
    assert models.trial(build(), lambda *_: b"") is None
    (event,) = events
    assert (event["event"], event["log_level"], event["why"]) == (
        "model.canary_refused", "error", "no such weights")
