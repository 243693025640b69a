"""Faults of the scaler, of its instances, and of what it sees of both."""

from __future__ import annotations

import json
import os
import re
import signal
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from irs.domain import journal
from irs.local.instances import INTERRUPTION_FILE
from irs.testing.proxy import Action, Answer, Hang, Injection, Rewrite, Rule, Stale
from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness.hosts import PATIENCE, Hosts
from tests.faults.harness.stack import Stack
from tests.processes import until

#: One instance, replaced as fast as a scaler can; the deadlines in proportion.
SETTINGS: Mapping[str, Any] = {
    "min_instances": 1, "max_instances": 1, "scaler_interval": 1.0, "boot_delay": 0,
    "boot_deadline": 40.0, "stop_grace": 12.0,
}


@dataclass(kw_only=True)
class Strike:
    """A fault of this file at work."""

    #: times that it has struck, where no rule counts them
    struck: int = 0
    rules: tuple[Injection, ...] = ()
    #: what ends it, beyond the rules
    after: Callable[[], object] = lambda: None
    #: launched and ended by a tier before it began
    launched: int = 0
    terminated: int = 0

    @property
    def fired(self) -> int:
        """How often it has struck."""
        return self.struck or sum(rule.fired for rule in self.rules)

    def clear(self) -> None:
        """End it."""
        for rule in self.rules:
            rule.clear()
        self.after()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScalerFault(Fault):
    """One on a stack of a web tier, scalers and the instances that they launch."""

    workers: int = 0
    settings: Mapping[str, Any] = field(default_factory=lambda: SETTINGS)
    pairs: bool = False
    scalers: int = 1
    #: launches at most, and instances that scalers may end, from the fault's beginning on
    launches: int = 1
    ends: int = 0

    def prepare(self, stack: Stack) -> None:
        """Scalers, hosts, and the first instances."""
        stack.hosts = hosts = stack.enter(Hosts(stack))
        for _ in range(self.scalers):
            hosts.start_scaler()
        until(hosts.ready, PATIENCE, "the first instance is ready")

    def inject(self, stack: Stack) -> Active:
        """Begin."""
        assert stack.hosts is not None
        launched, terminated = len(stack.ledger.launched), len(stack.ledger.terminated)
        strike = self.strike(stack, stack.hosts)
        strike.launched, strike.terminated = launched, terminated
        return strike

    @abstractmethod
    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Begin, on these hosts."""

    def judge(self, stack: Stack, active: Active) -> list[str]:
        """P6: the fleet is bounded, known and where it should be."""
        assert stack.hosts is not None
        assert isinstance(active, Strike)
        found = stack.hosts.broken()
        for done, most, what in (
                (len(stack.ledger.launched) - active.launched, self.launches, "launched"),
                (len(stack.ledger.terminated) - active.terminated, self.ends, "ended by a scaler")):
            if done > most:
                found.append(f"P6: {done} instances were {what}, {most} at most should have been")
        return found


def _scaler_rule(action: Action, *operations: str, target: str = "", count: int | None = None) -> Rule:
    service = "ec2" if operations[0].endswith("Instances") else ""
    return Rule(service=service, operations=frozenset(operations), target=target, action=action,
                count=count)


# -- instances --------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class InstanceKilled(ScalerFault):
    """SIGKILL in the midst of its work: its host sees the end and tells EC2."""

    #: EC2 knows at the same moment: spot capacity taken without notice, or a person
    terminated: bool = False

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Kill the one that works."""
        instance = hosts.busy()
        hosts.kill(instance)
        if self.terminated:
            hosts.fleet.terminate([instance])
        until(lambda: instance not in hosts.active(), PATIENCE, "EC2 knows of the end")
        return Strike(struck=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class SpotNotice(ScalerFault):
    """EC2 announces that it will take the instance, and takes it."""

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Announce; the instance drains, and has ended before its time."""
        instance = hosts.busy()
        (hosts.directory(instance) / INTERRUPTION_FILE).write_text("terminate 120\n")
        until(lambda: "spot interruption" in hosts.console(instance), PATIENCE, "it has heard the notice")
        return Strike(struck=1, after=lambda: until(
            lambda: instance not in hosts.active(), PATIENCE, "it has drained and ended"))


@dataclass(frozen=True, kw_only=True, eq=False)
class BrokenImage(ScalerFault):
    """No instance comes up: its machine image has no model and no room for one."""

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Every instance from now on."""
        good = hosts.models.with_name("machine-image-good")
        hosts.models.rename(good)
        hosts.models.write_text("a file where the models should be")
        (lost,) = hosts.lose()
        until(lambda: lost not in hosts.processes(), PATIENCE, "the good instance has gone")

        def repair() -> None:
            hosts.models.unlink()
            good.rename(hosts.models)

        until(hosts.failed, PATIENCE, "an instance has not come up")
        return Strike(struck=1, after=repair)


# -- scalers ----------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class ScalerDies(ScalerFault):
    """SIGKILL at one point between the decision to launch and the memory of it; then another one."""

    #: ``record``: before the intent is written; ``launch``: written, not called;
    #: ``answer``: called, and nobody has heard the answer
    point: str

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Take the instance away, so that one must be launched, and kill whoever does it."""
        scaler = hosts.leader()

        def kill(body: bytes) -> bytes:
            os.kill(scaler.pid, signal.SIGKILL)
            return body

        rule = {
            "record": _scaler_rule(Hang(), "PutObject", target=journal.key(stack.settings.cluster)),
            "launch": _scaler_rule(Hang(), "RunInstances"),
            "answer": _scaler_rule(Rewrite(kill), "RunInstances"),
        }[self.point]
        lost = hosts.lose()
        until(lambda: not set(lost) & set(hosts.active()), PATIENCE, "the instance has ended")
        injection = stack.proxy("scaler").add(rule)
        until(lambda: injection.fired, PATIENCE, "the scaler is at that point")
        stack.end(scaler, signal.SIGKILL)
        scaler.popen.wait(PATIENCE)
        return Strike(rules=(injection,), after=hosts.start_scaler)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaderKilled(ScalerFault):
    """Two scalers; the one that acts is killed, and the instance ends while nobody leads."""

    scalers: int = 2

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """The other one must take over."""
        stack.end(hosts.leader(), signal.SIGKILL)
        hosts.lose()
        return Strike(struck=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaderFrozen(ScalerFault):
    """Two scalers; the one that acts sleeps within its launch until the other one has made it."""

    scalers: int = 2

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Its call goes out when it wakes, long after its lease."""
        leader = hosts.leader()
        injection = stack.proxy("scaler").add(_scaler_rule(Hang(), "RunInstances", count=1))
        hosts.lose()
        until(lambda: injection.fired, PATIENCE, "the leader launches")
        os.kill(leader.pid, signal.SIGSTOP)
        try:
            until(lambda: hosts.leader() is not leader and hosts.active(), PATIENCE,
                  "the other one leads and has launched")
        except BaseException:
            os.kill(leader.pid, signal.SIGCONT)  # so that it can be stopped
            raise

        def wake() -> None:
            os.kill(leader.pid, signal.SIGCONT)
            until(lambda: leader.said("scaler.stepped_down"), PATIENCE, "the sleeper has stepped down")
        return Strike(rules=(injection,), after=wake)


@dataclass(frozen=True, kw_only=True, eq=False)
class JournalAway(ScalerFault):
    """S3 does not answer the scaler, for longer than its lease lasts, and the instance ends."""

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """It must do nothing, and what is due as soon as S3 is back."""
        injection = stack.proxy("scaler").add(Rule(service="s3", action=Hang()))
        hosts.lose()
        return Strike(rules=(injection,))


# -- what the scaler sees ----------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class Blinded(ScalerFault):
    """Calls of the scaler go wrong."""

    operation: str
    action: Action
    #: the instance is taken away as well
    lose: bool = False

    def strike(self, stack: Stack, hosts: Hosts) -> Strike:
        """Until it is cleared."""
        target = stack.settings.input_queue if self.operation == "GetQueueAttributes" else ""
        strike = Strike(rules=(stack.proxy("scaler").add(
            _scaler_rule(self.action, self.operation, target=target)),))
        if self.lose:
            hosts.lose()
        return strike


def _refused(name: str, status: int, code: str) -> Blinded:
    return Blinded(number=12, name=name, operation="RunInstances", action=Answer(status, code),
                   lose=True, seconds=10.0)


def _nobody(body: bytes) -> bytes:
    return re.sub(rb"<reservationSet>.*</reservationSet>", b"<reservationSet/>", body, flags=re.DOTALL)


def _counts(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    def changed(body: bytes) -> bytes:
        said = json.loads(body)
        said["Attributes"] = {
            key: change(value) if key.startswith("ApproximateNumber") else value
            for key, value in said.get("Attributes", {}).items()}
        return json.dumps(said).encode()
    return changed


#: Two may work, so that there is one to flap with.
_TWO = {**SETTINGS, "max_instances": 2}

FAULTS: tuple[Fault, ...] = (
    InstanceKilled(number=1, name="instance-killed"),
    ScalerDies(number=10, name="scaler-dies-before-record", point="record"),
    ScalerDies(number=10, name="scaler-dies-before-launch", point="launch"),
    ScalerDies(number=10, name="scaler-dies-before-answer", point="answer", short=True),
    LeaderKilled(number=11, name="leader-killed"),
    LeaderFrozen(number=11, name="leader-frozen"),
    JournalAway(number=11, name="journal-away", seconds=25.0),
    _refused("no-capacity", 500, "InsufficientInstanceCapacity"),
    _refused("instance-limit", 400, "InstanceLimitExceeded"),
    _refused("vcpu-limit", 400, "VcpuLimitExceeded"),
    _refused("launches-throttled", 503, "RequestLimitExceeded"),
    SpotNotice(number=13, name="spot-notice"),
    InstanceKilled(number=13, name="spot-without-notice", terminated=True),
    Blinded(number=14, name="fleet-stale", operation="DescribeInstances", action=Stale(), lose=True),
    Blinded(number=14, name="fleet-empty", operation="DescribeInstances", action=Rewrite(_nobody),
            launches=0, seconds=8.0),
    Blinded(number=14, name="counts-stale", operation="GetQueueAttributes", action=Stale(),
            settings=_TWO),
    Blinded(number=14, name="counts-zero", operation="GetQueueAttributes", settings=_TWO,
            action=Rewrite(_counts(lambda _: "0"))),
    Blinded(number=14, name="counts-absent", operation="GetQueueAttributes", settings=_TWO,
            action=Rewrite(lambda _: b"{}")),
    BrokenImage(number=19, name="instances-do-not-boot", launches=8, seconds=20.0),
)
