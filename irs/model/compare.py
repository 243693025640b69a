"""Two models on the same images, for a person who is about to change one for the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from irs import errors
from irs.domain import images
from irs.domain.comparing import Comparison
from irs.domain.jobs import Prediction
from irs.model.engine import Engine, top_k


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it."""

    comparison: Comparison = field(default_factory=Comparison)
    #: images that neither could be given: what they are called, and why
    skipped: list[tuple[str, str]] = field(default_factory=list)
    #: seconds of each, decoding and inference
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])


def run(engines: tuple[Engine, Engine], files: Iterable[tuple[str, bytes]], limits: images.Limits,
        told: Callable[[int], None] = lambda _: None) -> Outcome:
    """Classify ``files`` (name, bytes), one at a time, with both.

    Each model decodes by its own geometry. An image that cannot be decoded is skipped and
    counted, as it is the same failure under either. ``told`` hears how many are done.
    Raises `errors.ModelError` where an engine fails.
    """
    outcome = Outcome()
    for number, (name, data) in enumerate(files, 1):
        try:
            answers = []
            for place, engine in enumerate(engines):
                began = time.perf_counter()
                answers.append(_classify(engine, data, limits))
                outcome.seconds[place] += time.perf_counter() - began
            outcome.comparison.add(name, *answers)
        except errors.Refused as exc:
            outcome.skipped.append((name, str(exc)))
        told(number)
    return outcome


def _classify(engine: Engine, data: bytes, limits: images.Limits) -> tuple[Prediction, ...]:
    decoded = images.decode(data, limits, engine.preprocess)
    size = engine.preprocess.crop
    pixels = np.frombuffer(decoded.pixels, np.uint8).reshape(1, size, size, 3)
    return top_k(engine.predict(pixels), engine.labels)[0]
