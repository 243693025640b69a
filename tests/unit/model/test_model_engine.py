"""Which engine, and what is made of its numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from irs import settings
from irs.domain.images import Preprocess
from irs.domain.jobs import Prediction
from irs.errors import ModelError
from irs.model import engine

ROOT = Path(__file__).resolve().parents[3]
LABELS = ("ant", "bee", "cat", "dog")


def test_top_k_is_the_likeliest_first():
    rows = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]], np.float32)

    first, second = engine.top_k(rows, LABELS, 2)

    assert [p.label for p in first] == ["cat", "bee"]
    assert first[0] == Prediction(label="cat", index=2, confidence=pytest.approx(0.6))
    assert [p.label for p in second] == ["ant", "bee"]  # equals in index order


@pytest.mark.parametrize("k", [1, 3, 5, 20])
def test_top_k_is_what_sorting_all_gives_also_among_equals(k):
    rows = np.random.default_rng(0).integers(0, 6, (200, 20)).astype(np.float32) / 8
    labels = [str(number) for number in range(20)]

    found = engine.top_k(rows, labels, k)

    order = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    assert [[p.index for p in answer] for answer in found] == order.tolist()


def test_top_k_of_fewer_classes_than_k():
    assert len(engine.top_k(np.full((1, 4), 0.25), LABELS, 9)[0]) == 4


@pytest.mark.parametrize("k", [1, 5, 50])
def test_top_k_is_what_sorting_everything_gives(k):
    rows = np.random.default_rng(0).random((8, 50)).astype(np.float32).round(1)  # many are equal
    expected = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    answers = engine.top_k(rows, [str(n) for n in range(50)], k)
    assert [[p.index for p in answer] for answer in answers] == expected.tolist()
    assert [[p.confidence for p in a] for a in answers] == np.take_along_axis(rows, expected, 1).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_no_answer(bad):
    with pytest.raises(ModelError, match="not finite"):
        engine.top_k(np.array([[0.1, bad, 0.2, 0.3]]), LABELS)


@pytest.mark.parametrize("shape", [(1, 3), (4,), (1, 2, 2)])
def test_an_answer_of_another_shape(shape):
    with pytest.raises(ModelError, match="4 labels"):
        engine.top_k(np.zeros(shape), LABELS)


@pytest.mark.parametrize("batch", [
    np.zeros((1, 8, 8, 3), np.float32),
    np.zeros((0, 8, 8, 3), np.uint8),
    np.zeros((1, 8, 9, 3), np.uint8),
    np.zeros((1, 3, 8, 8), np.uint8),
    np.zeros((8, 8, 3), np.uint8),
])
def test_batches_that_no_engine_takes(batch):
    with pytest.raises(ModelError, match=r"uint8 \(N, 8, 8, 3\)"):
        engine.check_batch(batch, Preprocess(resize=8, crop=8))


def test_threads_are_the_settings_or_the_cores():
    assert engine.threads(settings.build({"engine_threads": 3})) == 3
    assert engine.threads(settings.build()) == len(os.sched_getaffinity(0))


def test_onnxruntime_writes_nothing_into_the_home_directory_and_reports_to_nobody(tmp_path):
    # It keeps quiet by itself where CI is set.
    environ = {name: value for name, value in os.environ.items()
               if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    for statement, quiet in (("import irs.model.engine_onnx", True), ("import onnxruntime", False)):
        home = tmp_path / str(quiet)
        home.mkdir()
        subprocess.run([sys.executable, "-c", statement], check=True, timeout=60,
                       env={**environ, "HOME": str(home)}, cwd=ROOT)
        # The second says that there is something to switch off.
        assert (not list(home.rglob("*"))) is quiet, statement
