"""The drills: each does its harm to a target under load, and takes it back."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from irs import errors
from irs.aws import temporary
from irs.aws.queues import Queue
from irs.drill import messages
from irs.drill.load import Load, patiently
from irs.drill.target import PATIENCE, Target, send
from irs.local.instances import INTERRUPTION_FILE
from irs.results.announce import reply_prefix

#: Copies, broken images, and the like in one drill.
SOME = 6
#: Seconds for work that was just sent to be seen in the queue.
BUSY = 3.0
#: Seconds for garbage to be received as often as the redrive policy allows.
TO_DEAD_LETTERS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Where a drill takes place."""

    target: Target
    load: Load
    #: in the name or the body of all that the drill makes
    token: str
    #: of what lasts, seconds
    seconds: float
    #: called by `_hold` in a drill that was interrupted
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """One entry of ``irs drill --list``."""

    name: str
    #: one line
    help: str
    #: do it, begin to end; how often it has struck
    strike: Callable[[Field], int]
    #: it touches processes or files, so the service must run on this machine, under `irs up`
    local: bool = False
    #: seconds that it lasts; 0: a moment
    seconds: float = 0.0
    #: clients may be left without an answer
    unanswered: bool = False
    #: what it leaves is taken away; what could not be, in words
    tidy: Callable[[Field], list[str]] = lambda _: []


@contextlib.contextmanager
def _frozen(pid: int) -> Iterator[None]:
    """SIGSTOP; SIGCONT in the end, whatever happens."""
    send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            send(pid, signal.SIGCONT)


def _hold(ground: Field) -> None:
    ground.stop.wait(ground.seconds)


def _busy(ground: Field) -> None:
    """Return in the midst of some work, or, where it was too quick to be seen, after it."""
    def at_work() -> bool:
        return ground.target.work.depth().there > 0

    for _ in range(SOME):
        ground.load.in_background()
    patiently(at_work, BUSY, every=0.01)


def _kill_instance(ground: Field) -> int:
    _, pid = ground.target.instance()
    _busy(ground)
    send(pid, signal.SIGKILL)
    return 1


def _spot_notice(ground: Field) -> int:
    """The notice, then the end: nothing is left for the end where the worker heeds the notice."""
    instance, _ = ground.target.instance()
    directory = ground.target.settings.state_dir / "instances" / instance
    (directory / INTERRUPTION_FILE).write_text(f"terminate {ground.seconds:.0f}\n")
    patiently(lambda: instance not in _active(ground), ground.seconds)
    ground.target.fleet.terminate([i for i in _active(ground) if i == instance])
    return 1


def _active(ground: Field) -> list[str]:
    return [instance.id for instance in ground.target.fleet.describe() if instance.active]


def _terminate_instance(ground: Field) -> int:
    active = _active(ground)
    if not active:
        raise errors.SettingsError("no instance runs, so none can be terminated: wait until the load "
                                   "has launched one, or set IRS_MIN_INSTANCES=1")
    ground.target.fleet.terminate(active[:1])
    return 1


def _freeze_instance(ground: Field) -> int:
    _, pid = ground.target.instance()
    with _frozen(pid):
        _hold(ground)
    return 1


def _kill(service: str) -> Callable[[Field], int]:
    def strike(ground: Field) -> int:
        before = ground.target.pid(service)
        _busy(ground)
        send(before, signal.SIGKILL)

        def again() -> bool:
            try:
                return ground.target.pid(service) != before
            except errors.SettingsError:
                return False
        if not patiently(again, PATIENCE):
            raise errors.Unreachable(f"{service} is not started again: see .irs/logs/{service}.log")
        return 1
    return strike


def _freeze_cloud(ground: Field) -> int:
    with _frozen(ground.target.pid("emulator")):
        _hold(ground)
    return 1


def _duplicate(ground: Field) -> int:
    """Each of some jobs is on the queue three times."""
    sent = 0
    for _ in range(SOME):
        upload = ground.load.submit(wait=0)
        job_id = upload.reply.job_id if upload.reply else None
        if job_id is None:
            continue
        body = messages.task(ground.target.settings, job_id, upload.picture.name)
        for _ in range(2):
            ground.target.work.send(body)
            sent += 1
    return sent


def _garbage(ground: Field) -> int:
    bodies = messages.garbage(ground.target.settings, ground.token)
    for body in bodies:
        ground.target.work.send(body)
    return len(bodies)


def _take_garbage(ground: Field) -> list[str]:
    """The drill's own dead letters are deleted; nobody else's."""
    wanted = len(messages.garbage(ground.target.settings, ground.token))
    taken = 0

    def look() -> bool:
        nonlocal taken
        ours = [m for m in ground.target.dead.receive(wait=1, visibility=5) if ground.token in m.body]
        if ours:
            outcomes = ground.target.dead.delete_batch([m.receipt for m in ours])
            taken += outcomes.count(None)
        return taken >= wanted

    if patiently(look, TO_DEAD_LETTERS):
        return []
    return [f"{taken} of {wanted} garbage messages came to {ground.target.dead.name} within "
            f"{TO_DEAD_LETTERS:g} s; the rest is still in a queue"]


def _poison(ground: Field) -> int:
    for _ in range(SOME):
        ground.load.in_background(good=False)
    return SOME


def _lose_announcements(ground: Field) -> int:
    """Take every announcement that can be had from the web tier's own queues."""
    settings = ground.target.settings
    queues = [Queue(settings, url.rsplit("/", 1)[-1], url=url)
              for url in temporary.urls(settings, reply_prefix(settings))]
    if not queues:
        raise errors.SettingsError(f"no web tier's reply queue ({reply_prefix(settings)}…) is there")
    over = threading.Event()
    taken: list[int] = []
    failed: list[errors.CloudError] = []

    def take(queue: Queue) -> None:
        try:
            while not over.is_set():
                found = queue.receive(wait=1)
                if found:
                    queue.delete_batch([message.receipt for message in found])
                    taken.append(len(found))
        except errors.NotFound:
            return  # its web process has ended
        except errors.CloudError as exc:
            failed.append(exc)

    threads = [threading.Thread(target=take, args=(queue,), daemon=True) for queue in queues]
    for thread in threads:
        thread.start()
    _hold(ground)
    over.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sum(taken)


DRILLS: dict[str, Drill] = {drill.name: drill for drill in (
    Drill(name="kill-instance", local=True, strike=_kill_instance,
          help="SIGKILL an instance's processes in the midst of its work."),
    Drill(name="terminate-instance", strike=_terminate_instance,
          help="Terminate an instance through EC2, without a word to the scaler."),
    Drill(name="freeze-instance", local=True, strike=_freeze_instance, seconds=45.0,
          help="SIGSTOP an instance for longer than its messages are hidden, then SIGCONT."),
    Drill(name="spot-notice", local=True, strike=_spot_notice, seconds=120.0,
          help="Announce a spot interruption to an instance, and end it when its time is over."),
    Drill(name="kill-web", local=True, strike=_kill("web"), unanswered=True,
          help="SIGKILL the web tier with waiting clients."),
    Drill(name="kill-scaler", local=True, strike=_kill("scaler"), help="SIGKILL the scaler."),
    Drill(name="freeze-cloud", local=True, strike=_freeze_cloud, seconds=20.0,
          help="SIGSTOP the embedded cloud: every call to it hangs, then SIGCONT."),
    Drill(name="kill-cloud", local=True, strike=_kill("emulator"), help="SIGKILL the embedded cloud."),
    Drill(name="duplicate", strike=_duplicate, help="Put jobs' messages on the queue three times."),
    Drill(name="garbage", strike=_garbage, tidy=_take_garbage,
          help="Send messages that no worker understands; takes them from the dead letters after."),
    Drill(name="poison", strike=_poison, help="Upload images that cannot be decoded among good ones."),
    Drill(name="lose-announcements", strike=_lose_announcements, seconds=15.0,
          help="Take results' announcements away before the web tier hears them."),
)}
