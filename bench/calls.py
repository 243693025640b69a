"""Count the calls to AWS that an image costs, at the endpoint, and those of a service at rest.

    python bench/calls.py [PHOTO…] [--images N] [--at-once N] [--idle SECONDS] [--json FILE]

Starts a cloud, a web tier and a worker, each tier behind a proxy that knows AWS's calls by
name. Uploads ``--images`` of them, ``--at-once`` at a time, then leaves the service alone for
``--idle`` seconds. Prints the calls an image by tier and operation, calls a minute at rest,
and dollars per million images. Exit code 1 where a budget of `BUDGETS` is not kept.
"""

from __future__ import annotations

import argparse
import collections
import math
import sys
import tempfile
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from client import upload
from efficiency import photographs
from service import Tiers, until, verdict

from irs.aws.queues import Queue
from irs.testing.proxy import Exchange, Proxy

#: Dollars a call: list prices of us-east-1 (aws.amazon.com/sqs/pricing, /s3/pricing), read
#: in November 2026: SQS standard $0.40 a million, S3 Standard PUT/LIST $5 and GET $0.40.
PRICES = {"sqs": 0.40e-6, "PutObject": 5e-6, "ListObjectsV2": 5e-6, "GetObject": 0.40e-6,
          "HeadObject": 0.40e-6}
#: Threads of one process that may ask for a queue's URL before the first has it (the reply to
#: one serves all that come later).
ASKING = 2
#: What must hold: SQS calls an image over both queues and all tiers; S3 calls an image,
#: exactly; SQS calls a minute of a process at rest.
BUDGETS = {"sqs_per_image": 0.8, "s3_per_image": 3.0, "idle_sqs_per_minute": 6.0}


class Counter:
    """Calls by tier and operation. Thread-safe; an instance a tier's proxy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
        #: how often each queue's URL was asked for, from the beginning
        self.resolved: collections.Counter[str] = collections.Counter()

    def hear(self, exchange: Exchange) -> None:
        """Take one call down, unless it is about the fleet and not about an image."""
        # A listing has its folder in the query: a web process's look for batches, every 15 s.
        asked = urllib.parse.unquote(exchange.request.target)
        if exchange.call.service == "s3" and ("/fleet/" in asked or "prefix=fleet/" in asked):
            return
        with self._lock:
            self._counts[(exchange.call.service, exchange.call.operation)] += 1
            self.resolved[exchange.call.target] += exchange.call.operation == "GetQueueUrl"

    def take(self) -> collections.Counter[tuple[str, str]]:
        """The calls since the last look."""
        with self._lock:
            found, self._counts = self._counts, collections.Counter()
            return found


def dollars(service: str, operation: str) -> float:
    """What one call costs at list price; what is not in the table is free or not per call."""
    return PRICES.get("sqs" if service == "sqs" else operation, 0.0)


def measure(options: argparse.Namespace, files: list[bytes]) -> dict[str, Any]:
    """The figures."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # As it is by default, where known bytes would spare calls: no two images are alike.
        tiers = stack.enter_context(Tiers(scratch, poll_wait=20, reuse="process"))
        counters: dict[str, Counter] = {}
        started: dict[str, Any] = {}
        for name in ("web", "worker"):
            counters[name] = Counter()
            proxy = stack.enter_context(
                Proxy(tiers.settings.aws_endpoint_url or "", heard=counters[name].hear))
            started[name] = getattr(tiers, name)(IRS_AWS_ENDPOINT_URL=proxy.endpoint)
            stack.callback(started[name].child.stop, 60)
        web = started["web"]
        for number in range(3):  # everything lazy is built, every queue's address known
            upload(web.url, f"{number}.jpg", files[0])
        queue = Queue(tiers.settings, tiers.settings.input_queue)
        for counter in counters.values():
            counter.take()
        with ThreadPoolExecutor(options.at_once) as pool:
            statuses = list(pool.map(
                lambda n: upload(web.url, f"{n}.jpg", unlike(files[n % len(files)], n))[0],
                range(options.images)))
        if set(statuses) != {200}:
            raise RuntimeError(f"uploads answered {collections.Counter(statuses)}")
        until(lambda: not (d := queue.depth()).visible + d.in_flight, 60, "the queue empty")
        load = {name: counter.take() for name, counter in counters.items()}
        time.sleep(options.idle)  # the measurement itself: calls of a service left alone
        idle = {name: counter.take() for name, counter in counters.items()}
    again = {f"{name} {queue}" for name, counter in counters.items()
             for queue, n in counter.resolved.items() if n > ASKING}
    return figures(load, idle, options) | {"resolved_again": sorted(again)}


def unlike(data: bytes, number: int) -> bytes:
    """The same picture in other bytes: decoders stop where it ends."""
    return data + number.to_bytes(8)


def figures(load: dict[str, collections.Counter], idle: dict[str, collections.Counter],
            options: argparse.Namespace) -> dict[str, Any]:
    """What an image and a minute cost."""
    def per_image(service: str) -> float:
        return sum(n for counts in load.values() for (s, _), n in counts.items()
                   if s == service) / options.images

    return {
        "images": options.images, "at_once": options.at_once, "idle_seconds": options.idle,
        "sqs_per_image": per_image("sqs"), "s3_per_image": per_image("s3"),
        "idle_sqs_per_minute": max(
            (sum(n for (s, _), n in counts.items() if s == "sqs") * 60 / options.idle
             for counts in idle.values()), default=0.0) if options.idle else None,
        "dollars_per_million_images": 1e6 / options.images * sum(
            n * dollars(*what) for counts in load.values() for what, n in counts.items()),
        "load": {f"{tier} {service} {operation}": n / options.images
                 for tier, counts in load.items() for (service, operation), n in sorted(counts.items())},
        "idle": {f"{tier} {service} {operation}": n
                 for tier, counts in idle.items() for (service, operation), n in sorted(counts.items())},
    }


def broken(found: dict[str, Any]) -> list[str]:
    """Budgets that are not kept, in words."""
    lines = []
    if found["sqs_per_image"] > BUDGETS["sqs_per_image"]:
        lines.append(f"{found['sqs_per_image']:.2f} SQS calls an image; {BUDGETS['sqs_per_image']} may be")
    if found["s3_per_image"] != BUDGETS["s3_per_image"]:
        lines.append(f"{found['s3_per_image']:.3f} S3 calls an image, not {BUDGETS['s3_per_image']:g}")
    rest = found["idle_sqs_per_minute"]
    # A window of 39 s may hold the ends of two polls of 20 s, and that is no more than its share.
    share = math.ceil(BUDGETS["idle_sqs_per_minute"] * found["idle_seconds"] / 60)
    if rest is not None and rest * found["idle_seconds"] / 60 > share:
        lines.append(f"{rest:.1f} SQS calls a minute at rest; {BUDGETS['idle_sqs_per_minute']:g} may be")
    lines += [f"{what}: queues are listed" for what in found["load"] if what.endswith("ListQueues")]
    return lines + [f"{what}: its URL was asked for again" for what in found["resolved_again"]]


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--idle", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options, photographs(options.photos))
    for section in ("load", "idle"):
        print("calls an image" if section == "load" else f"calls in {options.idle:g} s at rest")
        for what, n in found[section].items():
            print(f"  {what:40} {n:8.3f}")
    for name in ("sqs_per_image", "s3_per_image", "idle_sqs_per_minute", "dollars_per_million_images"):
        if found[name] is not None:
            print(f"{name:42} {found[name]:8.3f}")
    return verdict(found, broken(found), options.json)


if __name__ == "__main__":
    sys.exit(main())
