"""What `celery control` and Flower's buttons ask of a worker, where Celery's own answer misleads.

Registered by import, in place of Celery's commands of the same names.
"""

from __future__ import annotations

import signal
from typing import Any

from celery.utils.sysinfo import load_average
from celery.worker import state as worker_state
from celery.worker.control import control_command

from irs import log
from irs.broker.events import HEARTBEAT
from irs.settings import load

_log = log.get("worker")


@control_command()
def heartbeat(state: Any) -> None:
    """Tell worker(s) to send event heartbeat immediately."""
    # Celery's says that the next one follows in 5 s: a monitor that has just begun would call
    # every worker offline after ten.
    dispatcher = state.consumer.event_dispatcher
    if dispatcher is not None:  # None between two connections
        dispatcher.send(
            "worker-heartbeat", freq=HEARTBEAT, active=len(worker_state.active_requests),
            processed=worker_state.all_total_count[0], loadavg=load_average(),
            **worker_state.SOFTWARE_INFO)


@control_command()
def enable_events(state: Any) -> dict[str, str]:
    """Say whether this worker sends events."""
    # Celery's would answer that they are on, and nothing come.
    if load().task_events:
        return {"ok": "task events already enabled"}
    return {"error": "IRS_TASK_EVENTS is off: set it and start the workers anew"}


@control_command()
def disable_events(state: Any) -> dict[str, str]:
    """Refuse: another monitor may listen."""
    return {"error": "task events are switched off by IRS_TASK_EVENTS=false and a start of the workers"}


@control_command()
def shutdown(state: Any, **_: Any) -> dict[str, str]:
    """Shutdown worker(s)."""
    # Celery's ends the loop at once: what runs finishes, and its message is never deleted. This
    # is the end that every other has, a drain. Commands are obeyed in the main thread.
    _log.info("worker.told_to_end")
    signal.raise_signal(signal.SIGTERM)
    return {"ok": "finishes what it has, and ends"}
