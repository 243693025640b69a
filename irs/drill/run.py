"""One drill: load, harm, its end, and the verdict."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from irs import errors
from irs.drill import books as bookkeeping
from irs.drill.books import Books
from irs.drill.drills import Drill, Field
from irs.drill.load import Load, Upload, patiently
from irs.drill.target import Target, loopback
from irs.errors import SettingsError

#: Seconds after the harm's end within which everything must be well again.
HEAL = 90.0
#: Seconds of load before the harm and after it.
LEAD, TAIL = 2.0, 2.0
#: Seconds at most that a client of the load waits for its result.
WAIT = 30.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it; the line is that of `make faults`."""

    name: str
    #: with it the same images are made again
    seed: int
    injected: int
    accepted: int
    final: int
    lost: int
    duplicated: int
    #: seconds of the request that took longest
    worst_wait: float
    #: seconds from the harm's end until all was well; None: not within `HEAL`
    healed_in: float | None
    #: what was not as promised, in words
    broken: tuple[str, ...]

    HEAD: ClassVar[str] = (f"{'drill':<34} {'injected':>8} {'accepted':>8} {'final':>6} {'lost':>5} "
                           f"{'duplicated':>10} {'worst wait':>10} {'healed in':>9}")

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return not (self.broken or self.lost or self.duplicated or self.healed_in is None)

    @property
    def line(self) -> str:
        """Under `HEAD`."""
        healed = "never" if self.healed_in is None else f"{self.healed_in:.1f} s"
        return (f"{self.name:<34} {self.injected:>8} {self.accepted:>8} {self.final:>6} {self.lost:>5} "
                f"{self.duplicated:>10} {self.worst_wait:>8.1f} s {healed:>9}")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"ok": self.ok, **asdict(self)}


def allowed(drill: Drill, target: Target, *, yes: bool) -> None:
    """Raises `SettingsError`, one line, where ``drill`` is not for this target."""
    settings, own = target.settings, loopback(target.settings, target.client.url)
    if drill.local:
        if not own:
            raise SettingsError(
                f"{drill.name} harms processes of `irs up`, and this service is "
                f"{_where(target)}: run a drill that needs AWS's API only (irs drill --list)")
        target.pid("web")  # refuses where nothing of `irs up` runs here
    if not (own or yes):
        raise SettingsError(
            f"{drill.name} would harm {_where(target)} (cluster {settings.cluster}), which is not on this "
            "machine: add --yes if that is meant")


def _where(target: Target) -> str:
    return f"{target.client.url} on {target.settings.aws_endpoint_url or 'AWS'}"


def run(drill: Drill, target: Target, *, rate: float, seconds: float | None = None,
        seed: int | None = None) -> Report:
    """``drill`` under ``rate`` uploads a second, for ``seconds`` where it lasts.

    Raises `errors.IRSError` where it cannot be done; what it froze goes on all the same.
    """
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    token = f"drill-{secrets.token_hex(4)}"
    load = Load(target.client, token=token, rate=rate, seed=seed,
                wait=min(WAIT, target.settings.client_wait))
    ground = Field(target=target, load=load, token=token,
                   seconds=drill.seconds if seconds is None else seconds)
    books = Books(jobs=target.client, inputs=target.inputs, outputs=target.outputs)
    load.start()
    try:
        ground.stop.wait(LEAD)
        injected = drill.strike(ground)
        cleared = time.monotonic()
        ground.stop.wait(TAIL)
        healed = _heal(load, books, cleared)
    finally:
        load.stop()
    broken = drill.tidy(ground)
    return _judge(drill, load.uploads, books, seed=seed, injected=injected,
                  healed=None if healed is None else healed - cleared, broken=broken)


def _heal(load: Load, books: Books, cleared: float) -> float | None:
    """The time at which a new client has its label and every accepted job its result."""
    def served() -> bool:
        reply = load.submit().reply
        return reply is not None and reply.final

    def left() -> float:
        return max(0.0, cleared + HEAL - time.monotonic())

    well = patiently(served, left())
    load.stop()
    books.enter(load.uploads)

    def settled() -> bool:
        try:
            return books.settled()
        except errors.CloudError:
            return False  # asked again until the time is over

    return time.monotonic() if patiently(settled, left()) and well else None


def _judge(drill: Drill, uploads: list[Upload], books: Books, *, seed: int, injected: int,
           healed: float | None, broken: list[str]) -> Report:
    lost, duplicated = books.lost(), books.duplicated(uploads)
    broken = [*lost, *duplicated, *books.wrong(), *bookkeeping.refused(uploads), *broken]
    if not injected:
        broken.append(f"{drill.name} has not struck, so nothing is shown")
    if not books.accepted:
        broken.append("no upload was accepted, so nothing is shown")
    if not drill.unanswered:
        broken += bookkeeping.unanswered(uploads)
    if healed is None:
        broken.append(f"not well {HEAL:g} s after its end")
    return Report(
        name=drill.name, seed=seed, injected=injected, accepted=len(books.accepted),
        final=len(books.results), lost=len(lost), duplicated=len(duplicated),
        worst_wait=max((upload.ended or upload.began) - upload.began for upload in uploads),
        healed_in=healed, broken=tuple(broken))
