"""A round every few seconds, whatever AWS does meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time

from irs import __version__, holders, log, tracing
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.heartbeat import Heartbeat
from irs.scaler.brain import Scaler
from irs.scaler.lease import RENEW
from irs.settings import Settings

_log = log.get("scaler")


def build(settings: Settings, *, dry_run: bool = False) -> Scaler:
    """A scaler on the settings' queue, fleet and output bucket; no call to AWS is made yet.

    Raises `errors.SettingsError` where a setting cannot be told to an instance.
    """
    return Scaler(settings, queue=Queue(settings, settings.input_queue), machines=Fleet(settings),
                  letters=Queue(settings, settings.dead_letter_queue),
                  objects=Objects(settings, settings.output_bucket), holder=holders.name(), dry_run=dry_run)


def run(settings: Settings, stop: threading.Event, *, dry_run: bool = False) -> None:
    """Tick each `settings.scaler_interval` seconds until ``stop`` is set.

    No `errors.CloudError` ends it. A round in which AWS was slow delays the next one; the
    rounds that it overran are not made up for.
    """
    scaler = build(settings, dry_run=dry_run)
    tracing.start(settings, "scaler")
    _log.info("scaler.started", version=__version__, cluster=settings.cluster, queue=settings.input_queue,
              policy=settings.scaler_policy, min=settings.min_instances,
              max=settings.max_instances, interval=settings.scaler_interval, dry_run=dry_run)
    heartbeat = Heartbeat(settings.heartbeat_file)
    due = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.callback(scaler.close)
        if settings.scaler_metrics_port is not None:
            from irs.scaler import metrics  # the client library is for those who want it

            stack.enter_context(metrics.served(settings, scaler))
        heartbeat.ready()
        while not stop.is_set():
            now = time.monotonic()
            if now >= due:
                due = now + settings.scaler_interval
                scaler.tick()
            else:
                scaler.keep()
            heartbeat.beat()
            stop.wait(max(0.0, min(due - time.monotonic(), RENEW)))
        heartbeat.stopping()
    tracing.stop()
    _log.info("scaler.stopped", ticks=scaler.state.tick)
