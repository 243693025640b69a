"""An adaptive micro-batcher: many threads hand in single images, one thread runs the engine.

There is no timer. The moment the engine is free it takes what waits, up to ``max_batch``:
a lone image is never held back, and under load a batch gathers while the one before runs.

An engine that takes a batch while it computes another has a thread for each. The second one
begins once it is full or as large as the first: a GPU needs for a few images as long as for
many, so that a small batch behind a large one would only be in the way of the next.
"""

from __future__ import annotations

import contextlib
import itertools
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
from irs.errors import DeviceLost, IRSError, ModelError, Overloaded
from irs.model.engine import Engine, Overlapping, top_k

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
    """Runs one engine in threads of its own; a context manager that starts and closes it.

    ``on_batch(images, seconds)`` is called in their thread after each call of the engine
    that succeeded. Its seconds add up to those in which the engine was at work.
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
        self._shape = (size, size, 3)
        self._nbytes = size * size * 3
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._counts = Counts()
        self._ended = 0.0  # `time.perf_counter` of the last call's end
        several = engine if isinstance(engine, Overlapping) else None
        #: by thread: where it gathers a batch, and what is under way
        self._buffers = ([several.buffer(max_batch) for _ in range(several.depth)] if several
                         else [np.empty((max_batch, *self._shape), np.uint8)])
        self._running: list[list[_Item]] = [[] for _ in self._buffers]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"irs-engine-{number}", daemon=True)
            for number in range(len(self._buffers))]

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
        """Start the engine's threads; once."""
        for thread in self._threads:
            thread.start()

    def submit(self, pixels: bytes, *, timeout: float = PATIENCE) -> Answer:
        """The future top classes of one image: crop × crop × 3 bytes of RGB.

        Waits up to ``timeout`` seconds for room. Raises `Overloaded` when there is none or
        the batcher is closed, `ValueError` for another number of bytes. The future raises
        `ModelError` when the engine fails on this very image, `Overloaded` when the
        batcher was closed before its turn.
        """
        if len(pixels) != self._nbytes:
            raise ValueError(f"{len(pixels)} bytes of pixels; the model takes {self._nbytes}")
        answer: Answer = Future()
        with self._changed:
            room = self._changed.wait_for(
                lambda: self._closing or len(self._waiting) < self._max_queue, timeout)
            if self._closing:
                raise _stopping()
            if not room:
                raise Overloaded(f"{self._max_queue} images wait for the engine", retry_after=1)
            self._waiting.append(_Item(pixels, answer, tracing.place()))
            if self._due():
                self._changed.notify_all()
        return answer

    def close(self, timeout: float = PATIENCE) -> None:
        """Take no more images and answer those that wait; fail what is left after ``timeout`` seconds.

        Safe to call twice.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        until = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        with self._changed:
            left = [*itertools.chain(*self._running), *self._waiting]
            self._waiting.clear()
        for item in left:
            _fail(item, _stopping())
        if left:
            _log.warning("batcher.closed_with_work", images=len(left))

    def _run(self, number: int) -> None:
        while batch := self._take(number):
            self._answer(batch, self._buffers[number])

    def _due(self) -> bool:
        """Whether the next batch may begin; with the lock."""
        under_way = sum(map(len, self._running))
        return len(self._waiting) >= min(self._max_batch, under_way or 1)

    def _take(self, number: int) -> list[_Item]:
        """The next batch of this thread; empty when the batcher is closed and drained."""
        with self._changed:
            self._running[number] = batch = []
            if len(self._threads) > 1:
                self._changed.notify_all()  # a smaller one may begin now
            while not batch and (self._waiting or not self._closing):
                self._changed.wait_for(lambda: self._closing or self._due())
                taken = [self._waiting.popleft()
                         for _ in range(min(len(self._waiting), self._max_batch))]
                batch = [item for item in taken if item.answer.set_running_or_notify_cancel()]
                self._running[number] = batch
                self._changed.notify_all()  # there is room again
            return batch

    def _answer(self, items: Sequence[_Item], buffer: np.ndarray[Any, Any]) -> None:
        try:
            answers = self._predict(items, buffer)
        except Exception as exc:  # whatever it is, the images' tasks must hear of it
            _log.warning("batcher.batch_failed", images=len(items), error=repr(exc))
            if len(items) == 1 or isinstance(exc, DeviceLost):
                for item in items:
                    _fail(item, exc)
                return
            # One bad image must not fail its neighbours: each gets a turn of its own.
            for item in items:
                self._answer([item], buffer)
            return
        for item, answer in zip(items, answers, strict=True):
            # close() may have given up on it a moment ago.
            with contextlib.suppress(InvalidStateError):
                item.answer.set_result(answer)

    def _predict(self, items: Sequence[_Item],
                 buffer: np.ndarray[Any, Any]) -> list[tuple[Prediction, ...]]:
        batch = buffer[: len(items)]
        for row, item in zip(batch, items, strict=True):
            row[...] = np.frombuffer(item.pixels, np.uint8).reshape(self._shape)
        began = time.perf_counter()
        failed = True
        try:
            with self._traced(items):
                answers = top_k(self._engine.predict(batch), self._engine.labels, self._top)
            failed = False
        finally:
            seconds = self._count(len(items), began, failed=failed)
        self._report(len(items), seconds)
        return answers

    def _count(self, images: int, began: float, *, failed: bool) -> float:
        """Seconds since ``began`` that no other call has counted: two may be under way at once."""
        with self._changed:
            seen, now = self._counts, time.perf_counter()
            seconds, self._ended = now - max(began, self._ended), now
            self._counts = Counts(batches=seen.batches + 1, images=seen.images + images,
                                  failures=seen.failures + failed)
        return seconds

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
