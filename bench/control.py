"""Count the calls to SNS and SQS that remote control, events and monitors cost, at the endpoint.

    python bench/control.py [PHOTO…] [--idle SECONDS] [--images N] [--lone N] [--json FILE]

Starts a cloud and, side by side, a worker for each way to run one: without remote control,
with it, with task events, and with a monitor that listens (`celery events`, Flower as
`flowerconfig.py` has it, Flower as it is by itself), each process behind a proxy that knows
AWS's calls by name. Leaves them alone for ``--idle`` seconds and prints calls a minute and
dollars a month. Then ``--images`` at once and ``--lone`` one after the other go through a
worker without and one with task events: publishes and SQS calls an image. Exit code 1 where
a budget of `BUDGETS` is not kept.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from calls import Counter
from efficiency import Load, photographs
from service import Tier, Tiers, until, verdict

from irs.local import children
from irs.testing.proxy import Proxy

#: Dollars a call: list prices of us-east-1 (aws.amazon.com/sqs/pricing, /sns/pricing), read in
#: November 2026: SQS standard $0.40 a million; SNS standard $0.50 a million publishes,
#: deliveries to SQS for nothing.
PRICES = {"sqs": 0.40e-6, "sns": 0.50e-6}
#: Minutes of a month of 30 days.
MONTH = 30 * 24 * 60
#: Seconds after the start until which processes ask for tags, lists and each other.
SETTLED = 25.0
#: What must hold: calls a minute of an idle worker without remote control (a long poll of 20 s),
#: with it (another) and with task events (and a heartbeat each 20 s).
BUDGETS = {"remote control off": 3.0, "remote control": 6.0, "task events": 9.0}
#: And publishes a second of a busy worker: one, and another for each hundred events, which are
#: those of 33 images.
PUBLISHES = 1.5

_EVENTS = {"IRS_TASK_EVENTS": "true"}
#: (name, the worker's settings, the monitor's arguments)
WAYS: tuple[tuple[str, dict[str, str], tuple[str, ...]], ...] = (
    ("remote control off", {"IRS_REMOTE_CONTROL": "false"}, ()),
    ("remote control", {}, ()),
    ("task events", _EVENTS, ()),
    ("task events, celery events", _EVENTS, ("events", "--dump")),
    ("task events, Flower", _EVENTS, ("flower", "--port=0")),
    ("task events, Flower by itself", _EVENTS, ("flower", "--port=0", "--enable_events=true")),
)


class Watched:
    """Processes on one cloud, each behind a proxy that counts."""

    def __init__(self, tiers: Tiers, stack: ExitStack) -> None:
        self._tiers = tiers
        self._stack = stack
        self._started: list[Tier] = []

    def worker(self, **env: str) -> Counter:
        """A worker that takes tasks."""
        return self._count(lambda endpoint: self._tiers.worker(IRS_AWS_ENDPOINT_URL=endpoint, **env))

    def monitor(self, *arguments: str, **env: str) -> Counter:
        """A monitor that listens."""
        if "flower" in arguments:
            arguments += (f"--conf={children.ROOT / 'flowerconfig.py'}",)
        return self._count(lambda endpoint: self._tiers.monitor(
            *arguments, ready="Connected to", IRS_AWS_ENDPOINT_URL=endpoint, **env))

    def terminate(self) -> None:
        """Ask all of them to end, so that they wait for their polls together."""
        for tier in self._started:
            tier.child.terminate()

    def _count(self, start: Any) -> Counter:
        counter = Counter()
        proxy = self._stack.enter_context(
            Proxy(self._tiers.settings.aws_endpoint_url or "", heard=counter.hear))
        tier: Tier = start(proxy.endpoint)
        self._started.append(tier)
        self._stack.callback(tier.child.stop, 60)
        return counter


def at_rest(tiers: Tiers, seconds: float) -> dict[str, dict[str, dict[str, float]]]:
    """Calls a minute by way, process and operation."""
    with ExitStack() as stack:
        watched = Watched(tiers, stack)
        counters: dict[tuple[str, str], Counter] = {}
        for number, (name, env, monitor) in enumerate(WAYS):
            # Each way is a deployment of its own: none hears the others.
            own = env | {"IRS_CLUSTER": f"way-{number}"}
            counters[name, "worker"] = watched.worker(**own)
            if monitor:
                counters[name, "monitor"] = watched.monitor(*monitor, **own)
        time.sleep(SETTLED)
        for counter in counters.values():
            counter.take()
        time.sleep(seconds)  # the measurement itself
        taken = {who: counter.take() for who, counter in counters.items()}
        watched.terminate()
    found: dict[str, dict[str, dict[str, float]]] = collections.defaultdict(dict)
    for (name, process), counts in taken.items():
        found[name][process] = {f"{service} {operation}": n * 60 / seconds
                                for (service, operation), n in sorted(counts.items()) if service in PRICES}
    return found


def at_work(tiers: Tiers, load: Load, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """SNS and SQS calls of a worker an image: of many at once and of lone ones, by way."""
    found: dict[str, dict[str, float]] = {}
    for name, env in (("remote control", {}), ("task events", _EVENTS)):
        with ExitStack() as stack:
            counter = Watched(tiers, stack).worker(**env)
            load.fill(3)  # everything lazy is built
            until(load.empty, 60, "the queue empty")
            for kind, images, at_once in (
                    ("many", options.images, options.images), ("lone", options.lone, 1)):
                counter.take()
                began = time.monotonic()
                for _ in range(0, images, at_once):
                    load.fill(at_once)
                    until(load.empty, 300, "the queue empty")
                    time.sleep(0 if at_once > 1 else 1.5)  # lone: none shares another's second
                time.sleep(3)  # what is gathered goes after a second
                counts = counter.take()
                found[f"{name}, {kind}"] = {"seconds": time.monotonic() - began, "images": images} | {
                    service: sum(n for (s, _), n in counts.items() if s == service) / images
                    for service in PRICES}
    return found


def month(calls: dict[str, float]) -> float:
    """Dollars a month of so many calls a minute."""
    return sum(n * PRICES[what.partition(" ")[0]] for what, n in calls.items()) * MONTH


def broken(rest: dict[str, dict[str, dict[str, float]]], work: dict[str, dict[str, float]],
           seconds: float) -> list[str]:
    """Budgets that are not kept, in words."""
    lines = []
    for name, budget in BUDGETS.items():
        if name in rest:
            found = sum(rest[name]["worker"].values())
            # The window may hold the end of a poll of each queue, and a heartbeat, beyond its share.
            if found > budget + budget / 3 * 60 / seconds:
                lines.append(f"{name}: {found:.1f} calls a minute of an idle worker; {budget:g} may be")
    many = work["task events, many"]
    found = many["sns"] * many["images"] / many["seconds"]
    if found > (budget := PUBLISHES + many["images"] / many["seconds"] * 3 / 100):
        lines.append(f"{found:.2f} publishes a second of a busy worker; {budget:.2f} may be")
    return lines + [f"{name}: {calls['sns']:.2f} SNS calls an image without task events"
                    for name, calls in work.items() if name.startswith("remote") and calls["sns"]]


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--idle", type=float, default=120.0)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--lone", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Tiers(Path(scratch), poll_wait=20) as tiers:
        load = Load(tiers.settings, photographs(options.photos))
        work = at_work(tiers, load, options)
        rest = at_rest(tiers, options.idle)
    print(f"{'calls a minute at rest':37} {'SNS':>6} {'SQS':>6} {'$ a month':>10}")
    for name, processes in rest.items():
        for process, calls in processes.items():
            sns = sum(n for what, n in calls.items() if what.startswith("sns"))
            print(f"{name + ': ' + process:37} {sns:6.1f} {sum(calls.values()) - sns:6.1f}"
                  f" {month(calls):10.3f}   {', '.join(f'{w} {n:.1f}' for w, n in calls.items())}")
    print(f"{'calls of a worker an image':37} {'SNS':>6} {'SQS':>6} {'$ a million':>11}")
    for name, calls in work.items():
        dollars = 1e6 * sum(calls[service] * price for service, price in PRICES.items())
        print(f"{name:37} {calls['sns']:6.3f} {calls['sqs']:6.3f} {dollars:11.2f}")
    return verdict({"rest": rest, "work": work}, broken(rest, work, options.idle), options.json)


if __name__ == "__main__":
    sys.exit(main())
