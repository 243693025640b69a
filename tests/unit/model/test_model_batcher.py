"""The batcher against an engine that a test can hold and release."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from irs.domain.images import Preprocess
from irs.domain.jobs import ModelInfo
from irs.errors import DeviceLost, ModelError, Overloaded
from irs.model.batcher import Batcher

SIZE = 2
LABELS = tuple(f"label {i}" for i in range(256))
#: seconds; only a broken batcher waits this long
LONG = 10


def image(value: int) -> bytes:
    """One image of one value; `HeldEngine` answers with the class of that number."""
    return bytes([value]) * (SIZE * SIZE * 3)


class HeldEngine:
    """Answers each image with the class of its first byte; runs when it is let."""

    name = "held"
    info = ModelInfo(name="held", version="sha256:0", engine="held")
    preprocess = Preprocess(resize=SIZE, crop=SIZE)
    labels = LABELS

    def __init__(self, *, held=False, bad=(), error=RuntimeError):
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        if not held:
            self.go.set()
        self.bad = set(bad)
        self.error = error
        self.batches: list[list[int]] = []

    def predict(self, batch):
        values = [int(row.flat[0]) for row in batch]
        self.batches.append(values)
        self.entered.release()
        assert self.go.wait(LONG)
        if self.bad & set(values):
            raise self.error("broken image")
        answer = np.zeros((len(batch), len(LABELS)), np.float32)
        answer[range(len(batch)), values] = 1
        return answer

    def wait_entered(self):
        assert self.entered.acquire(timeout=LONG)


class TwoAtOnce(HeldEngine):
    """The same for two threads, whose batches it keeps apart by where they lie."""

    depth = 2

    def __init__(self, **options):
        super().__init__(**options)
        self.buffers = []
        self.under_way = set()

    def buffer(self, images):
        self.buffers.append(np.empty((images, SIZE, SIZE, 3), np.uint8))
        return self.buffers[-1]

    def predict(self, batch):
        [mine] = [n for n, one in enumerate(self.buffers) if np.shares_memory(one, batch)]
        assert mine not in self.under_way
        self.under_way.add(mine)
        try:
            return super().predict(batch)
        finally:
            self.under_way.discard(mine)


@pytest.fixture
def start():
    """Starts batchers; closes them, engines released, when the test ends."""
    running = []

    def _start(engine, **options):
        batcher = Batcher(engine, **({"max_batch": 4} | options))
        batcher.start()
        running.append((engine, batcher))
        return batcher

    yield _start
    for engine, batcher in running:
        engine.go.set()
        batcher.close()
        assert not any(thread.is_alive() for thread in batcher._threads)


def label(answer):
    return answer.result(LONG)[0].label


def test_a_lone_image_runs_at_once_and_alone(start):
    engine = HeldEngine()
    batcher = start(engine)

    assert label(batcher.submit(image(7))) == "label 7"
    assert engine.batches == [[7]]


def test_five_classes_the_likeliest_first(start):
    answer = start(HeldEngine()).submit(image(9)).result(LONG)

    assert len(answer) == 5
    assert (answer[0].index, answer[0].confidence) == (9, 1.0)


def test_what_waits_while_the_engine_runs_is_the_next_batch(start):
    engine = HeldEngine(held=True)
    batcher = start(engine)
    answers = [batcher.submit(image(0))]
    engine.wait_entered()

    answers += [batcher.submit(image(i)) for i in range(1, 7)]
    assert batcher.depth == 6
    engine.go.set()

    assert [label(a) for a in answers] == [f"label {i}" for i in range(7)]
    assert engine.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_counts_and_callback(start):
    engine = HeldEngine(held=True)
    seen = []
    batcher = start(engine, on_batch=lambda images, seconds: seen.append((images, seconds >= 0)))
    answers = [batcher.submit(image(0))]
    engine.wait_entered()
    answers += [batcher.submit(image(i)) for i in (1, 2)]
    engine.go.set()
    for answer in answers:
        label(answer)

    batcher.close()
    assert seen == [(1, True), (2, True)]
    assert (batcher.counts.batches, batcher.counts.images, batcher.counts.failures) == (2, 3, 0)


def test_one_bad_image_fails_alone(start):
    engine = HeldEngine(held=True, bad=[2])
    batcher = start(engine)
    first = batcher.submit(image(0))
    engine.wait_entered()
    answers = [batcher.submit(image(i)) for i in (1, 2, 3)]
    engine.go.set()

    assert label(first) == "label 0"
    assert [label(answers[0]), label(answers[2])] == ["label 1", "label 3"]
    with pytest.raises(ModelError, match="broken image") as caught:
        answers[1].result(LONG)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert engine.batches == [[0], [1, 2, 3], [1], [2], [3]]
    assert label(batcher.submit(image(4))) == "label 4"  # and the engine goes on
    assert batcher.counts.failures == 2


def test_our_own_errors_arrive_as_they_are(start):
    batcher = start(HeldEngine(bad=[1], error=ModelError))

    with pytest.raises(ModelError, match=r"^broken image$"):
        batcher.submit(image(1)).result(LONG)


def test_a_callback_that_fails_costs_nobody_an_answer(start):
    def on_batch(images, seconds):
        raise ValueError("metric")

    batcher = start(HeldEngine(), on_batch=on_batch)

    assert [label(batcher.submit(image(i))) for i in (1, 2)] == ["label 1", "label 2"]


def test_a_cancelled_image_is_not_run(start):
    engine = HeldEngine(held=True)
    batcher = start(engine)
    first = batcher.submit(image(0))
    engine.wait_entered()
    second, third = batcher.submit(image(1)), batcher.submit(image(2))
    assert second.cancel()
    engine.go.set()

    assert [label(first), label(third)] == ["label 0", "label 2"]
    with pytest.raises(CancelledError):
        second.result(LONG)
    assert engine.batches == [[0], [2]]


def test_a_full_queue_refuses_after_the_timeout(start):
    engine = HeldEngine(held=True)
    batcher = start(engine, max_batch=1, max_queue=2)
    answers = [batcher.submit(image(0))]
    engine.wait_entered()
    answers += [batcher.submit(image(i)) for i in (1, 2)]

    with pytest.raises(Overloaded, match="2 images wait"):
        batcher.submit(image(3), timeout=0)
    engine.go.set()
    assert [label(a) for a in answers] == ["label 0", "label 1", "label 2"]


def test_a_full_queue_lets_the_next_in_when_there_is_room(start):
    engine = HeldEngine(held=True)
    batcher = start(engine, max_batch=1, max_queue=1)
    batcher.submit(image(0))
    engine.wait_entered()
    batcher.submit(image(1))
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(batcher.submit(image(2), timeout=LONG)))
    waiter.start()
    engine.go.set()
    waiter.join(LONG)

    assert label(answers[0]) == "label 2"


def test_another_number_of_bytes_is_refused_at_once(start):
    with pytest.raises(ValueError, match="13 bytes of pixels; the model takes 12"):
        start(HeldEngine()).submit(bytes(13))


def test_closing_answers_what_waits(start):
    engine = HeldEngine(held=True)
    batcher = start(engine)
    answers = [batcher.submit(image(0))]
    engine.wait_entered()
    answers += [batcher.submit(image(i)) for i in range(1, 7)]
    closer = threading.Thread(target=batcher.close)
    closer.start()
    engine.go.set()
    closer.join(LONG)

    assert [label(a) for a in answers] == [f"label {i}" for i in range(7)]


def test_closing_fails_what_an_engine_that_hangs_leaves(start):
    engine = HeldEngine(held=True)
    batcher = start(engine, max_batch=1)
    answers = [batcher.submit(image(0))]
    engine.wait_entered()
    answers.append(batcher.submit(image(1)))

    batcher.close(timeout=0)

    for answer in answers:
        with pytest.raises(Overloaded, match="stopping"):
            answer.result(0)


def test_nothing_is_taken_after_closing(start):
    batcher = start(HeldEngine())
    batcher.close()
    batcher.close()

    with pytest.raises(Overloaded, match="stopping"):
        batcher.submit(image(0))


def test_many_threads_each_hear_their_own_answer(start):
    batcher = start(HeldEngine(), max_queue=8)
    answers = {}

    def ask(value):
        answers[value] = label(batcher.submit(image(value)))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)

    assert answers == {i: f"label {i}" for i in range(64)}
    assert batcher.counts.images == 64
    assert batcher.counts.batches <= 64


def test_as_a_context_manager():
    with Batcher(HeldEngine(), max_batch=2) as batcher:
        assert label(batcher.submit(image(5))) == "label 5"
    assert not any(thread.is_alive() for thread in batcher._threads)


# -- an engine that takes a batch while it computes another ---------------------------------------

def test_the_next_batch_begins_while_one_runs_once_it_is_as_large(start):
    engine = TwoAtOnce(held=True)
    batcher = start(engine)
    answers = [batcher.submit(image(0))]
    engine.wait_entered()
    answers.append(batcher.submit(image(1)))
    engine.wait_entered()
    assert engine.batches == [[0], [1]]
    assert engine.under_way == {0, 1}

    answers += [batcher.submit(image(i)) for i in range(2, 5)]  # two are under way: there is no third
    assert batcher.depth == 3
    engine.go.set()
    assert [label(a) for a in answers] == [f"label {i}" for i in range(5)]


def test_a_small_batch_does_not_get_in_the_way_behind_a_large_one(start):
    engine = TwoAtOnce(held=True)
    batcher = start(engine)
    with batcher._changed:  # all four are there when the first thread looks
        answers = [batcher.submit(image(i)) for i in range(4)]
    engine.wait_entered()
    answers += [batcher.submit(image(i)) for i in (4, 5, 6)]
    assert batcher.depth == 3
    assert engine.batches == [[0, 1, 2, 3]]

    answers.append(batcher.submit(image(7)))
    engine.wait_entered()
    assert engine.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
    engine.go.set()
    assert [label(a) for a in answers] == [f"label {i}" for i in range(8)]


def test_a_small_batch_begins_when_the_large_one_has_ended(start):
    engine = TwoAtOnce(held=True)
    batcher = start(engine)
    with batcher._changed:
        answers = [batcher.submit(image(i)) for i in range(4)]
    engine.wait_entered()
    answers.append(batcher.submit(image(4)))
    engine.go.set()

    assert [label(a) for a in answers] == [f"label {i}" for i in range(5)]
    assert engine.batches == [[0, 1, 2, 3], [4]]


def test_closing_answers_both_batches_and_what_waits(start):
    engine = TwoAtOnce(held=True)
    batcher = start(engine)
    answers = []
    for i in range(2):
        answers.append(batcher.submit(image(i)))
        engine.wait_entered()
    answers.append(batcher.submit(image(2)))
    closer = threading.Thread(target=batcher.close)
    closer.start()
    engine.go.set()
    closer.join(LONG)

    assert [label(a) for a in answers] == [f"label {i}" for i in range(3)]


def test_closing_fails_both_batches_of_an_engine_that_hangs(start):
    engine = TwoAtOnce(held=True)
    batcher = start(engine)
    answers = []
    for i in range(2):
        answers.append(batcher.submit(image(i)))
        engine.wait_entered()

    batcher.close(timeout=0)

    for answer in answers:
        with pytest.raises(Overloaded, match="stopping"):
            answer.result(0)


def test_seconds_of_two_batches_at_once_are_counted_once(start):
    engine = TwoAtOnce(held=True)
    seen = []
    batcher = start(engine, on_batch=lambda images, seconds: seen.append(seconds))
    began = time.perf_counter()
    answers = []
    for i in range(2):
        answers.append(batcher.submit(image(i)))
        engine.wait_entered()
    engine.go.set()
    for answer in answers:
        label(answer)
    batcher.close()

    assert len(seen) == 2
    assert 0 < sum(seen) <= time.perf_counter() - began


def test_two_threads_give_each_image_its_own_answer(start):
    batcher = start(TwoAtOnce(), max_queue=8)

    answers = [batcher.submit(image(i % 256), timeout=LONG) for i in range(600)]

    assert [label(a) for a in answers] == [f"label {i % 256}" for i in range(600)]
    assert batcher.counts.images == 600


def test_on_a_device_that_is_lost_no_image_is_tried_by_itself(start):
    engine = HeldEngine(held=True, bad=[1], error=DeviceLost)
    batcher = start(engine)
    first = batcher.submit(image(0))
    engine.wait_entered()
    answers = [batcher.submit(image(i)) for i in (1, 2)]
    engine.go.set()

    assert label(first) == "label 0"
    for answer in answers:
        with pytest.raises(DeviceLost):
            answer.result(LONG)
    assert engine.batches == [[0], [1, 2]]
