"""Processor time by thread, read from files like those of Linux."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from irs.worker.metrics import Processor


def spend(folder: Path, thread: int, seconds: float) -> None:
    (folder / str(thread)).mkdir(exist_ok=True)
    (folder / str(thread) / "schedstat").write_text(f"{round(seconds * 1e9)} 0 0\n")


def end(folder: Path, thread: int) -> None:
    (folder / str(thread) / "schedstat").unlink()
    (folder / str(thread)).rmdir()


def test_threads_are_told_apart_and_ended_ones_are_not_forgotten(tmp_path: Path) -> None:
    go = threading.Event()
    decoding = threading.Thread(target=go.wait, args=(30,), name="decode")
    decoding.start()
    mine, other, foreign = threading.get_native_id(), decoding.native_id or 0, 1
    processor = Processor(tmp_path)
    spend(tmp_path, mine, 2)
    spend(tmp_path, other, 5)
    spend(tmp_path, foreign, 1)
    assert processor.seconds() == {"loop": 2, "decode": 5, "native": 1}
    go.set()
    decoding.join()
    # Python has forgotten it, and Linux not yet.
    spend(tmp_path, other, 6)
    assert processor.seconds() == {"loop": 2, "decode": 6, "native": 1}
    end(tmp_path, other)
    spend(tmp_path, mine, 3)
    assert processor.seconds() == {"loop": 3, "decode": 6, "native": 1}
    # The number is given again, to a thread that is none of Python's.
    spend(tmp_path, other, 0.5)
    assert processor.seconds() == {"loop": 3, "decode": 6, "native": 1.5}
    spend(tmp_path, other, 0.25)
    assert processor.seconds() == {"loop": 3, "decode": 6, "native": 1.75}


def test_where_the_system_does_not_tell_there_is_nothing(tmp_path: Path) -> None:
    assert Processor(tmp_path / "none").seconds() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own account")
def test_this_process_is_read() -> None:
    processor = Processor()
    before, until = processor.seconds()["loop"], time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    assert 0.02 < processor.seconds()["loop"] - before < 5
