"""The worker's beginning and end: the model before the first task, a drain before the exit.

SIGTERM (an instance being stopped or terminated), Ctrl-C, a spot interruption and an idle
shutdown all end the same way: no new messages, what is in flight finishes while Celery's
loop still runs (so that its acknowledgements go out), what was received and not begun
becomes visible at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from types import FrameType
from typing import Any

from celery import signals
from celery.worker import state as worker_state

from irs import __version__, errors, log, memory, tracing
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.broker import receiver, shared
from irs.broker.transport import finish
from irs.heartbeat import Heartbeat
from irs.settings import load
from irs.worker import hearing, identity, patience, pipeline, report
from irs.worker.hearing import Hearing
from irs.worker.idle import Leaving

#: Seconds between looks at the spot notice (AWS advises 5) and at idleness.
LOOK_EVERY = 5.0
#: Seconds between looks at whether a drain is complete.
DRAIN_TICK = 0.05

_log = log.get("worker")

#: what is open from the worker's init to its shutdown
_open = ExitStack()


def install() -> None:
    """Hook into Celery's signals; safe to call again."""
    signals.worker_init.connect(_on_init, dispatch_uid="irs")
    signals.worker_ready.connect(_on_ready, dispatch_uid="irs")
    signals.worker_shutdown.connect(_on_shutdown, dispatch_uid="irs")


def _on_init(sender: Any = None, **_: Any) -> None:
    # Celery's own (group, map, chord_unlock, …) run whatever a message names: not from here.
    for name in [n for n in sender.app.tasks if n.startswith("celery.")]:
        sender.app.tasks.unregister(name)
    memory.frugal()
    tracing.start(load(), "worker", identity.instance())
    try:
        _serve(pipeline.current())
    except errors.IRSError as exc:
        # Celery's signals swallow ordinary exceptions; a worker without a model must not run.
        _log.critical("worker.refused", why=str(exc))
        print(f"irs: {exc}", file=sys.stderr)  # noqa: T201 - the operator's one line
        raise SystemExit(2) from exc


def _serve(current: pipeline.Pipeline) -> None:
    settings = load()
    if current.metrics is None:
        return
    from irs import metrics

    host = settings.metrics_host or settings.host
    try:
        port = _open.enter_context(metrics.served(
            current.metrics.registry, host, settings.worker_metrics_port or 0, "IRS_WORKER_METRICS_PORT"))
    except errors.SettingsError as exc:
        # Another worker of this host has it: no reason not to work.
        _log.warning("worker.no_metrics", why=str(exc))
    else:
        current.metrics.address = identity.address(host, port)
        _log.info("worker.metrics", port=port, address=current.metrics.address)


def _on_ready(sender: Any, **_: Any) -> None:
    # Announced before its message goes, so that a worker that dies in between is made good
    # by the one that receives the message next.
    shared.settler().precede(pipeline.current().announced)
    drain = Drain(sender)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, drain.on_signal)
    _log.info("worker.ready", version=__version__, instance=identity.instance(), queue=load().input_queue)
    figures = pipeline.current().metrics
    reporter = report.start(drain, load(), metrics=figures.address if figures else None)
    drain.heartbeat.ready()
    threading.Thread(target=Watch(drain, reporter).run, name="lifecycle", daemon=True).start()


def _on_shutdown(**_: Any) -> None:
    finish()
    report.stop()
    _open.close()
    pipeline.current().close()
    tracing.stop()
    _log.info("worker.stopped", instance=identity.instance())


class Drain:
    """Ends a Celery consumer gently. `begin` may be called from any thread, many times."""

    def __init__(self, consumer: Any) -> None:
        self.heartbeat = Heartbeat(load().heartbeat_file)
        self._consumer = consumer
        self._channel: Any = None
        self._began = 0.0
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._signal = ""
        self._hurry = False
        threading.Thread(target=self._on_asked, name="drain", daemon=True).start()

    @property
    def began(self) -> bool:
        """Whether the worker takes no more tasks."""
        return self._began > 0

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """The first signal drains, the second one stops at once."""
        # Nothing more here: the code it interrupts may hold any lock, the main loop's too.
        self._hurry = self._asked.is_set() or self.began
        self._signal = signal.Signals(number).name
        self._asked.set()

    def _on_asked(self) -> None:
        self._asked.wait()
        self.begin(self._signal)

    def begin(self, why: str) -> None:
        """Take no more; stop when what runs has finished or the grace is over."""
        with self._lock:
            if self.began:
                return
            self._began = time.monotonic()
        patience.hurry.set()
        self.heartbeat.stopping()
        _log.info("worker.draining", why=why, running=len(worker_state.reserved_requests))
        self._consumer.hub.call_soon(self._cancel)

    def _cancel(self) -> None:
        consumer = self._consumer.task_consumer
        try:
            if consumer is not None:
                self._channel = consumer.channel
                consumer.cancel()
        except errors.CloudError as exc:
            _log.warning("worker.cancel_failed", why=str(exc))
        self._look()

    def _look(self) -> None:
        """Called in the main loop again and again, so that acknowledgements go on."""
        # Not Celery's own count: it lets go of a task before its message is settled.
        unsettled = self._channel.unsettled if self._channel is not None else 0
        late = time.monotonic() - self._began > load().drain_grace
        if not (unsettled or receiver.polling()):
            worker_state.should_stop = 0
        elif late or self._hurry:
            self._cut(unsettled)
        # Also at the end: the loop looks whether it should stop after its next turn, which
        # this timer makes.
        self._consumer.hub.call_later(DRAIN_TICK, self._look)

    def _cut(self, unsettled: int) -> None:
        """End now. Celery's own stop would wait for the tasks' threads, however they hang."""
        _log.warning("worker.drain_cut", unsettled=unsettled)
        if self._channel is not None:
            self._channel.close()  # hands every unsettled message to somebody else
        finish()
        tracing.stop()
        os._exit(0)


class Watch:
    """Drains when the instance is to be taken away or has nothing to do; ends a deaf worker."""

    def __init__(self, drain: Drain, reporter: report.Reporter) -> None:
        self._drain = drain
        self._reporter = reporter
        self._settings = load()
        self._hearing = Hearing()
        self._leaving: Leaving | None = None
        self._ended = False

    def run(self) -> None:
        """Look every few seconds until the worker drains."""
        pause = threading.Event()
        while not self._drain.began:
            if self._hearing.deaf() and not self._drain.began:
                # No drain: what is in flight cannot be settled either, and comes back by itself.
                _log.critical("worker.deaf", silent=round(self._hearing.silence))
                os._exit(hearing.EXIT)
            self._drain.heartbeat.beat(heard=not self._hearing.silence)
            try:
                self._look()
            except errors.CloudError as exc:
                _log.warning("worker.watch_failed", why=str(exc))
            pause.wait(LOOK_EVERY)

    def _look(self) -> None:
        if identity.instance_id() is not None:
            notice = identity.metadata().spot_action()
            if notice is not None:
                self._drain.begin(f"spot interruption {notice}")
                return
        self._consider_leaving()

    def _consider_leaving(self) -> None:
        patience = self._settings.idle_shutdown
        if patience is None or self._ended:
            return
        idle = time.monotonic() - pipeline.current().last_activity
        if idle < patience or worker_state.reserved_requests:
            self._reporter.wants_to_leave = False
            return
        instance = identity.instance_id()
        if instance is None:
            _log.info("worker.idle", seconds=round(idle))
            self._drain.begin("idle")
            return
        self._reporter.wants_to_leave = True
        if self._leaving is None:
            self._leaving = Leaving(
                self._settings, instance, machines=Fleet(self._settings),
                objects=Objects(self._settings, self._settings.output_bucket))
        how = self._leaving.verdict()
        if how is None:
            return
        _log.info("worker.idle", seconds=round(idle), instance=instance, then=how)
        # The end comes as for any instance that is ended: SIGTERM, and a drain.
        fleet = Fleet(self._settings)
        (fleet.stop if how == "stop" else fleet.terminate)([instance])
        self._ended = True
