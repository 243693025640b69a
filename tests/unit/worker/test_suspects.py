"""Who runs beside whom, and who has ended a worker."""

from __future__ import annotations

import threading

import pytest

from irs import errors
from irs.testing import MemoryObjects
from irs.worker.suspects import FOLDER, Killer, Suspects
from tests.processes import until


@pytest.fixture
def marks() -> MemoryObjects:
    return MemoryObjects("out")


@pytest.mark.parametrize(("receives", "since"), [(1, 2), (2, 2), (3, 2), (4, 2), (5, 3), (10, 8)])
def test_two_receives_are_left_when_a_job_becomes_suspect(marks, receives, since):
    assert Suspects(marks, receives=receives).since == since


def test_a_job_of_good_repute_leaves_no_mark(marks):
    with Suspects(marks, receives=5).company("a", 2):
        assert not marks.stored
    assert not marks.stored


def test_a_suspect_is_marked_while_it_runs_and_no_longer(marks):
    suspects = Suspects(marks, receives=5)
    for _ in range(2):
        with suspects.company("a", 3):
            assert list(marks.stored) == [FOLDER + "a"]
        assert not marks.stored
    with pytest.raises(ZeroDivisionError), suspects.company("a", 4):
        raise ZeroDivisionError
    assert not marks.stored


def test_a_mark_of_a_worker_that_ended_tells_on_its_job_alone(marks):
    marks.put(FOLDER + "a", b"")
    suspects = Suspects(marks, receives=5)
    with pytest.raises(Killer), suspects.company("a", 4):
        raise AssertionError
    with suspects.company("b", 4):
        pass
    assert list(marks.stored) == [FOLDER + "a"]


def test_a_mark_of_its_own_does_not_tell_on_a_job(marks, monkeypatch):
    suspects = Suspects(marks, receives=5)
    with monkeypatch.context() as patch:
        def refuse(key: str) -> None:
            raise errors.Unreachable("no answer")
        patch.setattr(marks, "delete", refuse)
        with suspects.company("a", 3):
            pass
    with suspects.company("a", 3):  # tried again by the same receive
        pass
    assert not marks.stored


def test_a_suspect_waits_for_all_others_and_they_for_it(marks):
    suspects = Suspects(marks, receives=5)
    order: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def run(name: str, attempt: int) -> None:
        with suspects.company(name, attempt):
            order.append(name)
            if name == "first":
                inside.set()
                assert leave.wait(10)

    threads = [threading.Thread(target=run, args=("first", 1))]
    threads[0].start()
    assert inside.wait(10)
    with suspects.company("beside", 1):
        order.append("beside")  # nobody is alone: no waiting
    threads.append(threading.Thread(target=run, args=("suspect", 3)))
    threads[-1].start()
    until(lambda: suspects._waiting == 1, 10)
    threads.append(threading.Thread(target=run, args=("later", 1)))
    threads[-1].start()
    assert not marks.stored
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "beside", "suspect", "later"]
