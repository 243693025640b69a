"""The scaling policies that the simulator can run: ours, and emulations of everybody else's.

Each file names the documents that its defaults and its arithmetic are from. All see the
same observations (late and noisy counts included) at the same ticks as ours, and act on
the same fleet.

`POLICIES` holds them by name; `make` builds one for a world. A policy's ``choices`` are the
settings among which `bench/scaling.py` looks for its best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from irs.domain.scaling import Policy
from irs.simulate.controllers import PolicyController
from irs.simulate.engine import Controller
from irs.simulate.policies.aws import TargetTracking
from irs.simulate.policies.cortex import Cortex
from irs.simulate.policies.fixed import Fixed
from irs.simulate.policies.idle import IdleTimeout
from irs.simulate.policies.keda import Keda
from irs.simulate.policies.ray_serve import RayServe
from irs.simulate.policies.sagemaker import SageMaker
from irs.simulate.traces import PEAK
from irs.simulate.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a policy is set up for."""

    world: World = field(default_factory=World)
    #: W: seconds that a message may wait
    wait: float = 30.0
    #: requests/s at the busiest, for the fixed fleet
    peak: float = PEAK


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One policy by its name."""

    name: str
    #: one line for a person
    title: str
    build: Callable[..., Controller]
    #: values to try, by parameter; none: the policy has nothing to tune
    choices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def grid(self) -> list[dict[str, float]]:
        """Every combination of ``choices``; one empty dict where there are none."""
        return [dict(zip(self.choices, values, strict=True))
                for values in itertools.product(*self.choices.values())]


def _own(rule: str) -> Callable[..., Controller]:
    def build(setting: Setting) -> Controller:
        world = setting.world
        return PolicyController(Policy(
            name=rule, max=world.cap, target_wait=setting.wait, interval=world.tick,
            service_seconds=world.service_seconds, boot_seconds=world.boot_median,
            billed_boot_seconds=world.boot_billed, billing_minimum=world.billing_minimum))
    return build


def _fixed(setting: Setting) -> Controller:
    return Fixed(count=min(setting.world.cap, math.ceil(setting.peak * setting.world.service_seconds)))


def _tracking(setting: Setting, *, target: float | None = None, **changed: float) -> Controller:
    # AWS's guide: acceptable latency over the time that a message takes.
    target = setting.wait / setting.world.service_seconds if target is None else target
    return TargetTracking(cap=setting.world.cap, target=target, **changed)


def _capped(kind: Callable[..., Controller]) -> Callable[..., Controller]:
    return lambda setting, **changed: kind(cap=setting.world.cap, **changed)


#: Messages an instance that are worth trying as a target where an image takes a second and
#: may wait 30: from "one each" to "all that fit into the wait".
_TARGETS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0)

POLICIES: Mapping[str, Entry] = {entry.name: entry for entry in (
    Entry(name="predictive", title="this service (IRS_SCALER_POLICY=predictive)", build=_own("predictive")),
    Entry(name="target", title="this service (IRS_SCALER_POLICY=target)", build=_own("target")),
    Entry(name="original", title="the first rule; instances end themselves", build=_own("seed")),
    Entry(name="aws-target-tracking", title="EC2 Auto Scaling on backlog per instance", build=_tracking,
          choices={"target": _TARGETS, "warmup": (60.0, 300.0)}),
    Entry(name="sagemaker-async", title="SageMaker asynchronous inference", build=_capped(SageMaker),
          choices={"target": _TARGETS, "out_cooldown": (0.0, 300.0), "in_cooldown": (0.0, 600.0)}),
    Entry(name="keda", title="KEDA and the HPA", build=_capped(Keda),
          choices={"queue_length": _TARGETS, "polling": (5.0,), "cooldown": (60.0, 300.0),
                   "stabilization": (0.0, 60.0, 120.0, 300.0)}),
    Entry(name="cortex", title="Cortex, asynchronous API", build=_capped(Cortex),
          choices={"target": _TARGETS, "window": (10.0, 60.0), "upscale_stabilization": (0.0,),
                   "downscale_stabilization": (0.0, 60.0, 120.0, 300.0), "max_upscale": (1.5, 10.0)}),
    Entry(name="ray-serve", title="Ray Serve", build=_capped(RayServe),
          choices={"target": _TARGETS, "look_back": (10.0, 30.0), "upscale_delay": (0.0, 30.0),
                   "downscale_delay": (30.0, 60.0, 120.0, 600.0)}),
    Entry(name="idle-timeout", title="launch what waits, end what idles", build=_capped(IdleTimeout),
          choices={"per_instance": _TARGETS, "poll": (3.0,),
                   "idle_shutdown": (3.0, 10.0, 30.0, 60.0, 300.0)}),
    Entry(name="fixed", title="a fixed fleet for the peak", build=_fixed),
)}


def make(name: str, setting: Setting, **changed: float) -> Controller:
    """A fresh controller with its documented defaults, ``changed`` aside; it bears ``name``.

    Raises `KeyError` for a name that is not in `POLICIES`.
    """
    controller = POLICIES[name].build(setting, **changed)
    controller.name = name
    return controller
