"""The world that a simulated fleet lives in: boot and service times, bills, metrics, faults."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """The defaults are the reference setting; raises `ValueError` for what cannot be.

    Times are seconds. Every draw comes from the run's own seed.
    """

    #: mean seconds an instance needs for one message, and their coefficient of variation
    service_seconds: float = 1.0
    service_cv: float = 0.0
    #: launch to first work: lognormal with this median and this sigma (of the logarithm)
    boot_median: float = 50.0
    boot_sigma: float = 0.2
    #: of the median boot, the seconds that EC2 bills (it does not bill `pending`)
    boot_billed: float = 38.0
    #: start of a stopped instance to first work, median; and how many are kept stopped
    stopped_start: float = 23.0
    warm_pool: int = 0
    #: instances that may work or boot at once
    cap: int = 19
    #: the least that is billed for an instance that ever ran
    billing_minimum: float = 60.0
    #: seconds from one tick of the controller to the next
    tick: float = 3.0
    #: seconds that the queue's counts are late, and whether the controller is told so
    metric_lag: float = 0.0
    lag_known: bool = True
    #: relative standard deviation of the counts (SQS: "approximate")
    metric_noise: float = 0.0
    #: whether the controller sees cumulative arrivals and completions
    counters: bool = True
    #: whether it knows of work, boots and the counts' age what the running scaler makes of
    #: the workers' reports, rather than the truth
    reports: bool = False
    #: whether it sees which instances hold a message, and when each first took work
    busy_known: bool = False
    ready_known: bool = True
    #: (from, to): EC2 has no capacity for a launch in between
    outages: tuple[tuple[float, float], ...] = ()
    #: mean seconds of work between two crashes of one instance; 0: none crash
    crash_seconds: float = 0.0
    #: seconds until a message whose instance died is seen again
    visibility_timeout: float = 60.0
    #: dollars for an instance-hour: AWS, "Amazon EC2 On-Demand Pricing", US East (N. Virginia),
    #: Linux, c7i.large, which is what IRS_INSTANCE_TYPE is by default (a t3.medium: 0.0416)
    price: float = 0.08925

    def __post_init__(self) -> None:
        for name in ("service_seconds", "boot_median", "stopped_start", "tick"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: want more than 0")
        for name in ("service_cv", "boot_sigma", "boot_billed", "billing_minimum", "metric_lag",
                     "metric_noise", "crash_seconds", "visibility_timeout", "price", "warm_pool", "cap"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} {getattr(self, name)}: want 0 or more")
        if self.boot_billed > self.boot_median:
            raise ValueError(f"boot_billed {self.boot_billed}: more than the boot's {self.boot_median}")

    def booting(self, median: float) -> World:
        """The same with another median boot, in seconds."""
        # The share of a boot that is billed is EC2's, whatever the boot takes.
        return replace(self, boot_median=median, boot_billed=self.boot_billed * median / self.boot_median)

    def service_times(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count,) float64 seconds: constant, or lognormal with the mean and variation given."""
        if self.service_cv == 0:
            return np.full(count, self.service_seconds)
        sigma2 = math.log(1 + self.service_cv ** 2)
        return rng.lognormal(math.log(self.service_seconds) - sigma2 / 2, math.sqrt(sigma2), count)

    def boot_time(self, rng: np.random.Generator, *, stopped: bool = False) -> tuple[float, float]:
        """One boot: seconds from launch to first work, and those of them that are billed."""
        median = self.stopped_start if stopped else self.boot_median
        boot = median * math.exp(self.boot_sigma * rng.standard_normal())
        return boot, boot * self.boot_billed / self.boot_median

    def out_of_capacity(self, at: float) -> bool:
        """Whether EC2 refuses a launch at second ``at``."""
        return any(start <= at < end for start, end in self.outages)
