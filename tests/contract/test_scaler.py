"""The whole scaler, on real clients: queue counts in, instances out."""

from __future__ import annotations

from typing import Any

import pytest

from irs.aws import provision
from irs.aws.fleet import Fleet
from irs.aws.queues import Queue
from irs.scaler import loop


@pytest.mark.parametrize("name", ["cloud", "moto_cloud"])
def test_messages_launch_instances_up_to_the_maximum(name: str, request: pytest.FixtureRequest) -> None:
    cloud: Any = request.getfixturevalue(name)
    settings = cloud.fresh(min_instances=1, max_instances=3, max_batch=4,
                           scaler_policy="seed")
    provision.ensure(settings)
    fleet = Fleet(settings)
    scaler = loop.build(settings)

    def active() -> list[str]:
        return sorted(i.name for i in fleet.describe() if i.active)

    assert scaler.tick()
    assert active() == ["AppTier-Instance-1"], "the minimum"
    assert scaler.tick()
    assert active() == ["AppTier-Instance-1"], "nothing waits"
    Queue(settings, settings.input_queue).send_batch([("task", 0)] * 10)
    assert [scaler.tick() for _ in range(4)] == [True] * 4
    assert active() == [f"AppTier-Instance-{n}" for n in (1, 2, 3)]
    assert scaler.state.reason == "queue 10, have 3 of 3: at the maximum"

    told = fleet.user_data(fleet.describe()[0].id)
    assert f"IRS_AWS_ENDPOINT_URL={cloud.endpoint}\n" in told
    assert f"IRS_INPUT_QUEUE={settings.input_queue}\n" in told
    assert "IRS_MAX_BATCH=4\n" in told
    assert "SECRET" not in told
    assert "ACCESS_KEY" not in told


@pytest.mark.parametrize("name", ["cloud", "moto_cloud"])
def test_a_fleet_above_its_maximum_is_cut(name: str, request: pytest.FixtureRequest) -> None:
    cloud: Any = request.getfixturevalue(name)
    settings = cloud.fresh(min_instances=3, max_instances=3)
    provision.ensure(settings)
    fleet = Fleet(settings)
    first = loop.build(settings)
    assert first.tick()
    first.close()
    assert len([i for i in fleet.describe() if i.active]) == 3
    smaller = settings.model_copy(update={"min_instances": 0, "max_instances": 1})
    assert loop.build(smaller).tick()
    assert len([i for i in fleet.describe() if i.active]) == 1


def test_a_queue_that_is_missing_is_a_round_without_action(cloud: Any) -> None:
    settings = cloud.fresh(min_instances=1)
    scaler = loop.build(settings)
    assert not scaler.tick()
    assert Fleet(settings).describe() == []
    provision.ensure(settings)
    assert scaler.tick()
    assert len(Fleet(settings).describe()) == 1
