"""An adaptive micro-batcher: many threads hand in single images, one thread runs the engine.

There is no timer. The moment the engine is free it takes what waits, up to ``max_batch``:
a lone image is never held back, and under load a batch gathers while the one before runs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs import log, tracing
from irs.domain.jobs import Prediction
from irs.errors import IRSError, ModelError, Overloaded
from irs.model.engine import Engine, top_k

#: Seconds that `Batcher.submit` waits for room, and `Batcher.close` for the queue to drain.
PATIENCE = 30.0

_log = log.get("batcher")

Answer = Future[tuple[Prediction, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What a batcher has done since it started."""

    #: calls of the engine, retries of single images included
    batches: int = 0
    #: images in those calls
    images: int = 0
    #: calls that failed
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    pixels: bytes
    answer: Answer
    #: where its trace is
    place: tracing.Place


class Batcher:
    """Runs one engine in one thread of its own; a context manager that starts and closes it.

    ``on_batch(images, seconds)`` is called in that thread after each call of the engine
    that succeeded.
    """

    def __init__(self, engine: Engine, *, max_batch: int, max_queue: int | None = None, top: int = 5,
                 on_batch: Callable[[int, float], None] | None = None) -> None:
        """``max_queue`` images may wait, by default four batches; ``top`` classes are answered."""
        size = engine.preprocess.crop
        self._engine = engine
        self._max_batch = max_batch
        self._max_queue = max_queue or 4 * max_batch
        self._top = top
        self._on_batch = on_batch
        self._buffer = np.empty((max_batch, size, size, 3), np.uint8)
        self._waiting: deque[_Item] = deque()
        self._running: list[_Item] = []
        self._changed = threading.Condition()
        self._closing = False
        self._counts = Counts()
        self._thread = threading.Thread(target=self._run, name="irs-engine", daemon=True)

    def __enter__(self) -> Batcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """A snapshot."""
        return self._counts

    @property
    def depth(self) -> int:
        """Images that wait, those in the engine left out."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the engine's thread; once."""
        self._thread.start()

    def submit(self, pixels: bytes, *, timeout: float = PATIENCE) -> Answer:
        """The future top classes of one image: crop × crop × 3 bytes of RGB.

        Waits up to ``timeout`` seconds for room. Raises `Overloaded` when there is none or
        the batcher is closed, `ValueError` for another number of bytes. The future raises
        `ModelError` when the engine fails on this very image, `Overloaded` when the
        batcher was closed before its turn.
        """
        if len(pixels) != self._buffer[0].nbytes:
            raise ValueError(f"{len(pixels)} bytes of pixels; the model takes {self._buffer[0].nbytes}")
        answer: Answer = Future()
        with self._changed:
            room = self._changed.wait_for(
                lambda: self._closing or len(self._waiting) < self._max_queue, timeout)
            if self._closing:
                raise _stopping()
            if not room:
                raise Overloaded(f"{self._max_queue} images wait for the engine", retry_after=1)
            self._waiting.append(_Item(pixels, answer, tracing.place()))
            self._changed.notify_all()
        return answer

    def close(self, timeout: float = PATIENCE) -> None:
        """Take no more images and answer those that wait; fail what is left after ``timeout`` seconds.

        Safe to call twice.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        with self._changed:
            left = [*self._running, *self._waiting]
            self._waiting.clear()
        for item in left:
            _fail(item, _stopping())
        if left:
            _log.warning("batcher.closed_with_work", images=len(left))

    def _run(self) -> None:
        while batch := self._take():
            self._answer(batch)

    def _take(self) -> list[_Item]:
        """The next batch; empty when the batcher is closed and drained."""
        with self._changed:
            self._running = []
            while not self._running and (self._waiting or not self._closing):
                self._changed.wait_for(lambda: self._closing or self._waiting)
                taken = [self._waiting.popleft()
                         for _ in range(min(len(self._waiting), self._max_batch))]
                self._running = [item for item in taken if item.answer.set_running_or_notify_cancel()]
                self._changed.notify_all()  # there is room again
            return self._running

    def _answer(self, items: Sequence[_Item]) -> None:
        try:
            answers = self._predict(items)
        except Exception as exc:  # whatever it is, the images' tasks must hear of it
            _log.warning("batcher.batch_failed", images=len(items), error=repr(exc))
            if len(items) == 1:
                _fail(items[0], exc)
                return
            # One bad image must not fail its neighbours: each gets a turn of its own.
            for item in items:
                self._answer([item])
            return
        for item, answer in zip(items, answers, strict=True):
            # close() may have given up on it a moment ago.
            with contextlib.suppress(InvalidStateError):
                item.answer.set_result(answer)

    def _predict(self, items: Sequence[_Item]) -> list[tuple[Prediction, ...]]:
        batch = self._buffer[: len(items)]
        for row, item in zip(batch, items, strict=True):
            row[...] = np.frombuffer(item.pixels, np.uint8).reshape(row.shape)
        began = time.perf_counter()
        failed = True
        try:
            with self._traced(items):
                answers = top_k(self._engine.predict(batch), self._engine.labels, self._top)
            failed = False
        finally:
            seen = self._counts
            self._counts = Counts(batches=seen.batches + 1, images=seen.images + len(items),
                                  failures=seen.failures + failed)
        self._report(len(items), time.perf_counter() - began)
        return answers

    def _traced(self, items: Sequence[_Item]) -> tracing.Span:
        if not tracing.on():
            return tracing.NOWHERE
        info = self._engine.info
        return tracing.together("irs.engine", [item.place for item in items], {
            "irs.batch.size": len(items), "irs.model.name": info.name, "irs.model.version": info.version,
            "irs.model.engine": info.engine})

    def _report(self, images: int, seconds: float) -> None:
        if self._on_batch is None:
            return
        try:
            self._on_batch(images, seconds)
        except Exception as exc:  # a metric that fails must not cost the images their answers
            _log.error("batcher.on_batch_failed", error=repr(exc))


def _stopping() -> Overloaded:
    return Overloaded("this worker is stopping; another will take the image", retry_after=1)


def _fail(item: _Item, exc: BaseException) -> None:
    if not isinstance(exc, IRSError):
        wrapped: Any = ModelError(f"the engine failed: {exc!r}")
        wrapped.__cause__ = exc
        exc = wrapped
    # Answered a moment ago by the other side, or cancelled: then nobody asks any more.
    with contextlib.suppress(InvalidStateError):
        item.answer.set_exception(exc)
