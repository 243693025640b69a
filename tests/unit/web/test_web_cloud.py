from __future__ import annotations

import contextlib
import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from irs import errors
from irs import settings as settings_module
from irs.testing import MemoryListener, MemoryObjects
from irs.web import cloud as cloud_module
from irs.web.cloud import Cloud


def test_nothing_is_built_before_it_is_needed(monkeypatch):
    built = []
    for name in ("Objects", "Listener", "ResultStore"):
        monkeypatch.setattr(cloud_module, name, lambda *args, name=name: built.append(name))
    cloud = Cloud(settings_module.build({}))
    assert cloud.heard is None
    cloud.close()
    assert built == []


def test_a_forked_process_has_a_listener_of_its_own(monkeypatch):
    """Two processes on one reply queue would take each other's announcements."""
    monkeypatch.setattr(cloud_module, "Listener", lambda settings, **told: MemoryListener())
    cloud = Cloud(settings_module.build({}))
    parent = cloud.listener
    assert cloud.listener is parent
    with monkeypatch.context() as child:
        pid = os.getpid()
        child.setattr(os, "getpid", lambda: pid + 1)
        own = cloud.listener
        assert own is not parent
        assert own.started
        cloud.close()
        assert own.closed
    assert not parent.closed
    parent.close()


@pytest.mark.parametrize("name", ["objects", "results", "records", "announce", "send", "pool", "reuse"])
def test_a_port_is_made_once_in_each_process_and_again_where_it_could_not_be(name, monkeypatch):
    made, together = [], threading.Barrier(2)

    def make(_cloud):
        # Two who were in here at once would meet.
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.1)
        made.append(object())
        if len(made) == 1:
            raise errors.Unreachable("not yet")
        return made[-1]

    monkeypatch.setattr(inspect.getattr_static(Cloud, name), "_make", make)
    cloud = Cloud(settings_module.build({}))
    with pytest.raises(errors.Unreachable):
        getattr(cloud, name)
    with ThreadPoolExecutor(3) as threads:
        got = list(threads.map(lambda _: getattr(cloud, name), range(3)))
    assert got == [made[1]] * 3
    with monkeypatch.context() as child:
        pid = os.getpid()
        child.setattr(os, "getpid", lambda: pid + 1)
        assert getattr(cloud, name) is made[2]
        assert getattr(cloud, name) is made[2]
    assert len(made) == 3


def test_a_port_that_is_given_is_what_there_is_after_a_fork_too(monkeypatch):
    objects = MemoryObjects("in")
    cloud = Cloud(settings_module.build({}), objects=objects)
    assert cloud.objects is objects
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert cloud.objects is objects


def test_the_end_waits_for_calls_that_need_what_it_closes(monkeypatch):
    """Of a request that was cut off: its thread and the process's last one waited for each other."""
    cloud = Cloud(settings_module.build({}))
    pool = cloud.pool
    with ThreadPoolExecutor(1) as call:
        monkeypatch.setattr(pool, "shutdown", lambda **_: call.submit(lambda: cloud.reuse).result(1))
        cloud.close()
    monkeypatch.undo()
    pool.shutdown()


class _Calls:
    """Callbacks that only say whether they run."""

    running = False

    def start(self):
        self.running = True

    def close(self):
        self.running = False


def test_what_others_promised_is_looked_after_from_the_start_and_by_each_process_itself(monkeypatch):
    made = []
    monkeypatch.setattr(cloud_module.callbacks_upkeep, "made",
                        lambda settings, payloads: made.append(_Calls()) or made[-1])
    monkeypatch.setattr(cloud_module.Upkeep, "start", lambda self: None)
    cloud = Cloud(settings_module.build({"callback_secret": "k" * 24}))
    _ = cloud.upkeep
    assert [calls.running for calls in made] == [True]
    with monkeypatch.context() as child:
        pid = os.getpid()
        child.setattr(os, "getpid", lambda: pid + 1)
        _ = cloud.upkeep
        cloud.close()
    assert [calls.running for calls in made] == [True, False]


def test_without_a_secret_nothing_is_looked_after(monkeypatch):
    monkeypatch.setattr(cloud_module.Upkeep, "start", lambda self: None)
    cloud = Cloud(settings_module.build({}))
    _ = cloud.upkeep
    assert cloud.calls.outcomes == {}
    with pytest.raises(errors.CallbacksOff):
        _ = cloud.callbacks
