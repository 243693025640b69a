"""An idle instance asks; without anybody to ask, all come to the same answer."""

from __future__ import annotations

from typing import Any

import pytest

from irs import errors
from irs import settings as settings_module
from irs.domain.journal import Journal, Leave, key
from irs.testing import FakeClock, MemoryFleet, MemoryObjects
from irs.worker.idle import ABSENT, Leaving


class Rig:
    def __init__(self, instances: int = 3, **settings: Any) -> None:
        self.clock = FakeClock()
        self.objects = MemoryObjects(clock=self.clock)
        self.ec2 = MemoryFleet(clock=self.clock)
        self.settings = settings_module.build(settings)
        self.serial = 0
        self.ids = []
        for number in range(instances):
            self.ids.append(self.ec2.launch(f"n-{number}", token=str(number), user_data="").id)
            self.clock.advance(1)
        self.askers = [Leaving(self.settings, i, objects=self.objects, machines=self.ec2,
                               clock=lambda: self.clock.now().timestamp()) for i in self.ids]

    def scaler_writes(self, leaving: dict[str, Leave] | None = None) -> None:
        self.serial += 1
        self.objects.put(key("irs"), Journal(
            epoch=1, holder="s", serial=self.serial, leaving=leaving or {}).to_json())

    def verdicts(self) -> list[str | None]:
        return [asker.verdict() for asker in self.askers]


def test_it_stays_until_the_scaler_lets_it_go() -> None:
    rig = Rig()
    for _ in range(200):
        rig.scaler_writes()
        assert rig.verdicts() == [None, None, None]
        rig.clock.advance(4)
    now = rig.clock.now()
    rig.scaler_writes({rig.ids[1]: Leave(how="terminate", since=now, itself=True),
                       rig.ids[2]: Leave(how="stop", since=now, itself=True)})
    assert rig.verdicts() == [None, "terminate", "stop"]


@pytest.mark.parametrize(("minimum", "verdicts"), [
    (0, ["terminate"] * 3), (1, [None, "terminate", "terminate"]), (3, [None] * 3), (5, [None] * 3)])
@pytest.mark.parametrize("ever", [True, False])
def test_without_a_scaler_the_oldest_stay(minimum: int, verdicts: list[str | None], ever: bool) -> None:
    rig = Rig(min_instances=minimum, max_instances=9)
    if ever:
        rig.scaler_writes()
    assert rig.verdicts() == [None] * 3
    rig.clock.advance(ABSENT - 1)
    assert rig.verdicts() == [None] * 3, "it may yet be replaced"
    rig.clock.advance(1)
    assert rig.verdicts() == verdicts
    rig.scaler_writes()
    assert rig.verdicts() == [None] * 3, "it is back"


def test_an_object_that_is_no_journal_is_no_permission() -> None:
    rig = Rig()
    rig.objects.put(key("irs"), b"{}")
    assert rig.verdicts() == [None] * 3


def test_trouble_is_the_callers() -> None:
    rig = Rig()

    class Broken:
        def get_tagged(self, key: str) -> tuple[bytes, str]:
            raise errors.Unreachable("S3: timeout")

    with pytest.raises(errors.Unreachable):
        Leaving(rig.settings, "i-1", objects=Broken(), machines=rig.ec2).verdict()
