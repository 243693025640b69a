"""The scaler against two emulators whose EC2 runs out, throttles, describes late or not at all."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from irs.aws import clients, provision
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain.journal import Journal, key
from irs.domain.observing import Report
from irs.scaler.brain import Scaler
from irs.scaler.lease import TTL
from irs.settings import Settings


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


class Ec2:
    """What EC2 answers instead, by botocore's own events: the fault is translated as AWS's is."""

    def __init__(self, settings: Settings) -> None:
        self._events = clients.client(settings, "ec2").meta.events
        #: RunInstances calls: (type, subnet)
        self.asked: list[tuple[str, str]] = []
        #: what RunInstances answers: an error code, or None to go on
        self.run: Callable[[str, str], str | None] = lambda type, subnet: None
        #: describes to come that answer with nothing, or with what was true when it was set
        self.blind = 0
        self.stale: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}
        self._hooks = {
            "provide-client-params.ec2.RunInstances": self._note,
            "before-call.ec2.RunInstances": self._before_run,
            "after-call.ec2.DescribeInstances": self._after_describe,
        }

    def __enter__(self) -> Ec2:
        for name, hook in self._hooks.items():
            self._events.register(name, hook)
        return self

    def __exit__(self, *_: object) -> None:
        for name, hook in self._hooks.items():
            self._events.unregister(name, hook)

    def freeze(self) -> None:
        """Describes answer from now on with what the last one saw."""
        self.stale = copy.deepcopy(self._last)

    def thaw(self) -> None:
        """They tell the truth again."""
        self.stale = None

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self.asked.append((params["InstanceType"], params.get("SubnetId", "")))

    def _before_run(self, **_: Any) -> Any:
        code = self.run(*self.asked[-1])
        if code is None:
            return None
        return SimpleNamespace(status_code=500), {
            "Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": 500}}

    def _after_describe(self, parsed: dict[str, Any], **_: Any) -> None:
        self._last = copy.deepcopy({"Reservations": parsed["Reservations"]})
        if self.stale is not None:
            parsed.update(copy.deepcopy(self.stale))
        if self.blind:
            self.blind -= 1
            parsed["Reservations"] = []


class World:
    """A cluster on a real endpoint; time can be let pass for the scalers."""

    def __init__(self, settings: Settings, ec2: Ec2) -> None:
        self.settings, self.ec2 = settings, ec2
        self.fleet = Fleet(settings)
        self.queue = Queue(settings, settings.input_queue)
        self.objects = Objects(settings, settings.output_bucket)
        self.shift = 0.0
        #: called before and after each EC2 launch
        self.before_launch: Callable[[], None] = lambda: None
        self.after_launch: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.shift)

    def scaler(self, holder: str) -> Scaler:
        world = self

        class Machines(Fleet):
            def launch(self, *args: Any, **kwargs: Any) -> Any:
                world.before_launch()
                instance = super().launch(*args, **kwargs)
                world.after_launch()
                return instance

        return Scaler(self.settings, queue=self.queue, machines=Machines(self.settings),
                      objects=self.objects, holder=holder, now=self.now,
                      clock=lambda: self.now().timestamp())

    def rounds(self, scaler: Scaler, count: int, *, apart: float = 3) -> None:
        for _ in range(count):
            scaler.tick()
            self.shift += apart

    def fill(self, count: int) -> None:
        for _ in range(0, count, 10):
            self.queue.send_batch([("task", 0)] * 10)

    def names(self) -> list[str]:
        """The active instances, asked past every injected fault."""
        stale, blind = self.ec2.stale, self.ec2.blind
        self.ec2.stale, self.ec2.blind = None, 0
        found = sorted(i.name for i in self.fleet.describe() if i.active)
        self.ec2.stale, self.ec2.blind = stale, blind
        return found

    def journal(self) -> Journal:
        return Journal.from_json(self.objects.get(key(self.settings.cluster)))


def names(*numbers: int) -> list[str]:
    return [f"AppTier-Instance-{n}" for n in numbers]


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    with contextlib.ExitStack() as stack:
        def build(kind: str, **overrides: Any) -> World:
            cloud = request.getfixturevalue(kind)
            settings = cloud.fresh(**{"scaler_policy": "seed", "max_instances": 4} | overrides)
            provision.ensure(settings)
            return World(settings, stack.enter_context(Ec2(settings)))

        yield build


BOTH = pytest.mark.parametrize("kind", ["cloud", "moto_cloud"])
#: moto does not look at ClientToken, so a repeat is a second instance there.
WITH_TOKENS = pytest.mark.parametrize("kind", ["cloud"])


@BOTH
def test_two_scalers_at_once_launch_what_one_would(make: Callable[..., World], kind: str) -> None:
    world = make(kind)
    world.fill(50)
    scalers = [world.scaler("one"), world.scaler("two")]
    gate = threading.Barrier(2)

    def work(scaler: Scaler) -> None:
        for _ in range(8):
            gate.wait(30)
            scaler.tick()

    threads = [threading.Thread(target=work, args=(s,)) for s in scalers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert world.names() == names(1, 2, 3, 4)
    assert [s.leads for s in scalers].count(True) == 1
    assert len(world.ec2.asked) == 4


@WITH_TOKENS
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_the_launch_the_successor_neither_doubles_nor_forgets(
        make: Callable[..., World], kind: str, when: str) -> None:
    world = make(kind, min_instances=3)

    def die() -> None:
        world.before_launch = world.after_launch = lambda: None
        raise Killed

    one, two = world.scaler("one"), world.scaler("two")
    setattr(world, f"{when}_launch", die)
    with pytest.raises(Killed):
        one.tick()
    assert world.names() == (names(1) if when == "after" else [])
    assert len(world.journal().intents) == 3
    world.ec2.freeze()  # and describes are late on top of it
    waited = 0
    while not two.leads:
        two.tick()
        world.shift += 3
        waited += 3
        assert waited < 30
    assert world.names() == names(1, 2, 3)
    world.ec2.thaw()
    world.rounds(two, 3)
    assert world.names() == names(1, 2, 3)
    assert world.journal().epoch == 2
    assert not world.journal().intents


@WITH_TOKENS
def test_killed_after_the_launch_and_before_it_is_noted(make: Callable[..., World], kind: str) -> None:
    world = make(kind, min_instances=2)
    world.scaler("one").tick()
    assert world.names() == names(1, 2)
    assert len(world.journal().intents) == 2, "as they were before the calls"
    world.ec2.freeze()
    two = world.scaler("two")
    two.tick()
    world.shift += TTL + 1
    world.rounds(two, 3)
    assert world.names() == names(1, 2)


@BOTH
def test_capacity_errors_move_on_to_the_next_pool_and_are_remembered(
        make: Callable[..., World], kind: str) -> None:
    world = make(kind, min_instances=2, instance_types=("c6i.large", "m7i.large"))
    world.ec2.run = lambda type, subnet: {
        "c7i.large": "InsufficientInstanceCapacity", "c6i.large": "Unsupported"}.get(type)
    scaler = world.scaler("one")
    world.rounds(scaler, 2, apart=2)
    assert world.names() == names(1, 2)
    assert {i.type for i in world.fleet.describe()} == {"m7i.large"}
    asked = [type for type, _ in world.ec2.asked]
    assert asked == ["c7i.large", "c6i.large", "m7i.large", "m7i.large"], "one refusal speaks for both"
    world.ec2.run = lambda type, subnet: None
    world.shift += 30
    world.fleet.terminate([i.id for i in world.fleet.describe()])
    world.rounds(scaler, 6)
    assert {i.type for i in world.fleet.describe() if i.active} == {"c7i.large"}, "after its pause"


@BOTH
def test_no_capacity_anywhere_is_waited_out(make: Callable[..., World], kind: str) -> None:
    world = make(kind, min_instances=1)
    world.ec2.run = lambda type, subnet: "InsufficientInstanceCapacity"
    scaler = world.scaler("one")
    world.rounds(scaler, 20)
    assert len(world.ec2.asked) == 4, "at 0, 6, 18 and 42 s"
    assert not world.journal().intents
    world.ec2.run = lambda type, subnet: None
    world.shift += 100
    world.rounds(scaler, 2)
    assert world.names() == names(1)


@BOTH
@pytest.mark.parametrize("code", ["RequestLimitExceeded", "ServiceUnavailable"])
def test_throttled_launches_are_made_again_and_counted_meanwhile(
        make: Callable[..., World], kind: str, code: str) -> None:
    world = make(kind)
    world.fill(50)
    calls = []

    def often(type: str, subnet: str) -> str | None:
        calls.append(type)
        return code if len(calls) % 3 else None

    world.ec2.run = often
    scaler = world.scaler("one")
    for _ in range(25):
        world.rounds(scaler, 1)
        assert len(world.names()) <= 4
    assert world.names() == names(1, 2, 3, 4)


@BOTH
def test_stale_and_empty_describes_launch_and_end_nothing(make: Callable[..., World], kind: str) -> None:
    world = make(kind)
    world.fill(50)
    scaler = world.scaler("one")
    world.rounds(scaler, 1)
    world.ec2.freeze()
    world.rounds(scaler, 5)
    assert world.names() == names(1, 2, 3, 4), "launches count although nobody describes them"
    world.ec2.thaw()
    for _ in range(6):
        world.ec2.blind = 1
        world.rounds(scaler, 2)
        assert world.names() == names(1, 2, 3, 4)
    assert len(world.ec2.asked) == 4
    # The same for one that comes fresh to an EC2 that shows nothing at first.
    scaler.close()
    world.ec2.blind = 1
    world.rounds(world.scaler("two"), 3)
    assert len(world.ec2.asked) == 4


@BOTH
@pytest.mark.parametrize("policy", ["seed", "predictive"])
def test_what_somebody_else_terminated_is_replaced_in_the_next_round(
        make: Callable[..., World], kind: str, policy: str) -> None:
    world = make(kind, max_instances=1, scaler_policy=policy)
    world.fill(10)
    scaler = world.scaler("one")
    world.rounds(scaler, 5)
    (first,) = [i.id for i in world.fleet.describe() if i.active]
    world.objects.put(f"fleet/{world.settings.cluster}/{first}.json", Report(
        instance=first, at=world.now(), started_at=world.now(), ready_at=world.now()).to_json())
    world.rounds(scaler, 1)
    world.fleet.terminate([first])
    world.rounds(scaler, 1, apart=0)
    (second,) = [i.id for i in world.fleet.describe() if i.active]
    assert second != first


@BOTH
def test_nothing_without_the_clusters_tags_is_touched(make: Callable[..., World], kind: str) -> None:
    world = make(kind, max_instances=1)
    ec2 = clients.client(world.settings, "ec2")
    strangers = []
    for tags in ({}, {"Name": "AppTier-Instance-1"}, {"irs:cluster": "another", "irs:role": "app"},
                 {"irs:cluster": world.settings.cluster}):
        spec = [{"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]
        answer = ec2.run_instances(ImageId=world.settings.ami, InstanceType="c7i.large", MinCount=1,
                                   MaxCount=1, **({"TagSpecifications": spec} if tags else {}))
        strangers.append(answer["Instances"][0]["InstanceId"])
    for number in (1, 2, 3):
        world.fleet.launch(f"ours-{number}", token=f"{world.settings.cluster}-{number}", user_data="")
    world.rounds(world.scaler("one"), 4)
    assert len(world.names()) == 1, "ours were adopted, and cut to the maximum"
    found = ec2.describe_instances(InstanceIds=strangers)["Reservations"]
    states = [i["State"]["Name"] for r in found for i in r["Instances"]]
    assert all(state in ("pending", "running") for state in states)


@BOTH
@pytest.mark.parametrize("policy", ["seed", "predictive"])
def test_a_warm_pool_is_prepared_also_when_the_scaler_dies_on_the_way(
        make: Callable[..., World], kind: str, policy: str) -> None:
    world = make(kind, warm_pool=1, scaler_policy=policy)

    def die() -> None:
        world.after_launch = lambda: None
        raise Killed

    world.after_launch = die
    with pytest.raises(Killed):
        world.scaler("one").tick()
    (spare,) = world.fleet.describe()
    two = world.scaler("two")
    for _ in range(12):
        world.objects.put(f"fleet/{world.settings.cluster}/{spare.id}.json", Report(
            instance=spare.id, at=world.now(), started_at=world.now(), ready_at=world.now()).to_json())
        world.rounds(two, 1)
    assert [(i.id, i.state) for i in world.fleet.describe()] == [(spare.id, "stopped")]
    world.fill(10)
    world.rounds(two, 2)
    assert spare.name in world.names(), "started before any is launched"


@BOTH
def test_a_warm_pool_is_filled_and_used(make: Callable[..., World], kind: str) -> None:
    world = make(kind, warm_pool=1, max_instances=2)
    world.fill(10)
    scaler = world.scaler("one")
    world.rounds(scaler, 3)
    assert world.names() == names(1, 2)
    scaler.close()
    world.settings = world.settings.model_copy(update={"max_instances": 1})
    world.queue.purge()
    smaller = world.scaler("two")
    world.rounds(smaller, 3)
    assert sorted(i.state for i in world.fleet.describe()) == ["running", "stopped"]
    smaller.close()
    world.settings = world.settings.model_copy(update={"max_instances": 2})
    world.fill(10)
    world.rounds(world.scaler("three"), 3)
    assert world.names() == names(1, 2)
    assert len(world.ec2.asked) == 2, "started, not launched"
