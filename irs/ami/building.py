"""Building an image: a machine installs itself, says how that went, is stopped and kept as an image.

The machine has neither key nor role: what it fetches and where it reports are addresses that
were signed for it. Whatever ends a build ends its machine, and where the build was killed its
machine ends itself, or the next build ends it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from irs import errors
from irs.ami.choosing import BROKEN
from irs.ami.turn import Turn
from irs.aws.machine_images import (
    BASE_TAG,
    BUILD_TAG,
    BUILT_TAG,
    MODEL_TAG,
    VERSION_TAG,
    Base,
    Builder,
    MachineImage,
)

#: Seconds between looks at the machine and at its report.
LOOK = 3.0
#: Seconds for a stop, and for a snapshot of the disk.
STOP, SNAPSHOT = 600.0, 3_600.0
_GONE = ("shutting-down", "terminated")


class BuildFailed(errors.IRSError):
    """The image was not made; the message has the step and the end of the machine's log."""


class Machines(Protocol):
    """What it wants of `irs.aws.machine_images.MachineImages`, beside images."""

    def launch(self, base: Base, *, build: str, type: str, subnet: str | None, groups: tuple[str, ...],
               size: int, user_data: str) -> str: ...
    def builders(self) -> list[Builder]: ...
    def stop(self, instance: str) -> None: ...
    def terminate(self, instance: str) -> None: ...
    def console(self, instance: str) -> str: ...


class Images(Protocol):
    """The rest of it."""

    def create(self, instance: str, *, name: str, description: str, tags: Mapping[str, str]) -> str: ...
    def images(self) -> list[MachineImage]: ...
    def remove(self, image: MachineImage) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One build."""

    #: its name, which no other has: ClientToken and tag
    build: str
    cluster: str
    base: Base
    type: str
    subnet: str | None
    groups: tuple[str, ...]
    #: GiB
    disk: int
    user_data: str
    version: str
    model: str
    #: seconds that the machine has to install itself
    patience: float


class Building:
    """One build, once. ``report()`` gives what the machine said last; ``say`` is told each step."""

    def __init__(self, order: Order, *, machines: Machines, images: Images, turn: Turn,
                 report: Callable[[], bytes], say: Callable[[str], None],
                 clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._order, self._machines, self._images, self._turn = order, machines, images, turn
        self._report, self._say = report, say
        self._clock, self._sleep = clock, sleep
        self._instance = ""
        self._image = ""
        self._step = ""
        self._whole = False

    def run(self) -> MachineImage:
        """The image, available. Raises `BuildFailed`, `Taken` and `errors.CloudError`."""
        self._turn.take()
        try:
            for left in self._alive(""):
                self._say(f"ending {left.id}, which build {left.build or '?'} left")
                self._machines.terminate(left.id)
            return self._make()
        finally:
            self._end()

    def _make(self) -> MachineImage:
        order = self._order
        self._instance = self._machines.launch(
            order.base, build=order.build, type=order.type, subnet=order.subnet, groups=order.groups,
            size=order.disk, user_data=order.user_data)
        self._say(f"{self._instance} installs itself")
        self._until(self._installed, order.patience)
        self._say(f"stopping {self._instance}")
        self._machines.stop(self._instance)
        self._until(lambda: self._state() == "stopped", STOP)
        began = datetime.now(UTC)
        self._image = self._images.create(
            self._instance, name=f"irs-{order.cluster}-{order.version}-{order.build}",
            description=f"IRS {order.version} with {order.model}, on {order.base.id}",
            tags={VERSION_TAG: order.version, MODEL_TAG: order.model, BASE_TAG: order.base.id,
                  BUILD_TAG: order.build, BUILT_TAG: began.isoformat(timespec="seconds")})
        self._say(f"{self._image} is being made")
        made: MachineImage = self._until(self._available, SNAPSHOT)
        self._whole = True
        return made

    # -- what is waited for --------------------------------------------------------------------
    def _until(self, done: Callable[[], Any], patience: float) -> Any:
        """What ``done`` says, once it says something; faults of the cloud's are waited out."""
        end, said = self._clock() + patience, ""
        while True:
            why = ""
            try:
                self._turn.keep()
                if found := done():
                    return found
            except errors.Retryable as exc:
                why = str(exc)
            if why and why != said:
                self._say(f"waiting: {why}")
            said = why
            if self._clock() >= end:
                raise BuildFailed(f"not within {patience / 60:.0f} minutes{self._last_words()}")
            self._sleep(LOOK)

    def _told(self) -> dict[str, Any]:
        try:
            found = json.loads(self._report())
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}

    def _installed(self) -> bool:
        told = self._told()
        state, step = told.get("state"), str(told.get("step", ""))
        if step and step != self._step:
            self._step = step
            self._say(f"  {step}")
        if state == "failed":
            raise BuildFailed(f"the machine failed at {step}:\n{str(told.get('log', '')).rstrip()}")
        if state != "done" and self._state() in (*_GONE, "stopping", "stopped"):
            raise BuildFailed(f"the machine ended by itself at {step or 'its start'}{self._last_words()}")
        return bool(state == "done")

    def _state(self) -> str:
        # Descriptions may lag behind the launch: one that is not seen yet is on its way.
        return next((b.state for b in self._machines.builders() if b.id == self._instance), "pending")

    def _available(self) -> MachineImage | None:
        found = next((i for i in self._images.images() if i.id == self._image), None)
        if found is not None and found.state in BROKEN:
            raise BuildFailed(f"EC2 could not make {self._image}: its state is {found.state}")
        return found if found is not None and found.state == "available" else None

    def _last_words(self) -> str:
        try:
            log = str(self._told().get("log", "")) or self._machines.console(self._instance)
        except errors.CloudError as exc:
            return f"; its log cannot be had: {exc}"
        return f":\n{log[-4000:].rstrip()}" if log.strip() else "; it has said nothing"

    # -- the end, whatever it was ----------------------------------------------------------------
    def _end(self) -> None:
        """Leave nothing that runs; what cannot be ended is named. Ctrl-C waits until it is done."""
        interrupted: KeyboardInterrupt | None = None
        for what, act in (("the image", self._drop_image), ("the machine", self._end_machine),
                          ("the turn", self._turn.give_back)):
            for _ in range(2):
                try:
                    act()
                except errors.CloudError as exc:
                    self._say(f"could not end {what} of build {self._order.build}: {exc}; the next build "
                              "does, or `irs ami prune --yes`")
                except KeyboardInterrupt as exc:
                    interrupted = exc
                    continue
                break
        if interrupted is not None:
            raise interrupted

    def _drop_image(self) -> None:
        if self._whole:
            return
        for image in self._images.images():
            if image.name.endswith(f"-{self._order.build}"):
                self._images.remove(image)

    def _end_machine(self) -> None:
        # Also one that the launch made and whose answer was lost.
        ids = {left.id for left in self._alive(self._order.build)} | ({self._instance} - {""})
        for instance in sorted(ids):
            self._machines.terminate(instance)

    def _alive(self, build: str) -> list[Builder]:
        return [b for b in self._machines.builders()
                if b.state not in _GONE and (not build or b.build == build)]
