"""What a call of ten messages to SQS costs its caller, over libcurl and with boto3.

    python bench/sqs_cost.py [--rounds N] [--json FILE]

Milliseconds of the calling thread's processor time, medians, against the embedded cloud on the
other core; warm, and each time after so many bytes were read that no cache knows the code any
more, as beside an engine. Exit code 1 where libcurl is not the cheaper one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from service import Tiers, in_memory, verdict

from irs.aws import clients
from irs.aws.queues import BATCH, Queue

CLOUD, CALLER = 0, 1
#: Bytes: more than the last level of a core's share of caches.
SWEEP = 64 << 20
BODY = "x" * 700


def boto3_calls(queue: Queue, settings: Any) -> list[Callable[[Any], Any]]:
    """Send, receive and delete; each takes what the one before it gave."""
    sqs, url = clients.client(settings, "sqs"), queue.url
    return [
        lambda _: sqs.send_message_batch(QueueUrl=url, Entries=[
            {"Id": str(i), "MessageBody": BODY} for i in range(BATCH)]),
        lambda _: sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=1)["Messages"],
        lambda found: sqs.delete_message_batch(QueueUrl=url, Entries=[
            {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(found)]),
    ]


def our_calls(queue: Queue) -> list[Callable[[Any], Any]]:
    """The same."""
    return [lambda _: queue.send_batch([(BODY, 0)] * BATCH), lambda _: queue.receive(BATCH, wait=1),
            lambda found: queue.delete_batch([message.receipt for message in found])]


def main() -> int:
    """Print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sweep = np.zeros(SWEEP, np.uint8)
    spent: dict[tuple[str, str, str], list[float]] = {}
    with in_memory() as scratch, Tiers(
            Path(scratch), cores={"cloud": {CLOUD}, "worker": {CALLER}}, engine_threads=1) as tiers:
        os.sched_setaffinity(0, {CALLER})
        queue = Queue(tiers.settings, tiers.settings.input_queue)
        ways = {"libcurl": our_calls(queue), "boto3": boto3_calls(queue, tiers.settings)}
        for _ in range(options.rounds):
            for how in ("warm", "cold"):
                for way, calls in ways.items():
                    given: Any = None
                    for what, call in zip(("send", "receive", "delete"), calls, strict=True):
                        if how == "cold":
                            sweep.sum()
                        else:  # something of the same kind just before
                            queue.depth() if way == "libcurl" else clients.client(
                                tiers.settings, "sqs").get_queue_attributes(QueueUrl=queue.url)
                        began = time.thread_time()
                        given = call(given)
                        spent.setdefault((how, what, way), []).append(1e3 * (time.thread_time() - began))
    figures = {" ".join(key): statistics.median(values) for key, values in spent.items()}
    print(f"{'':14}{'libcurl':>10}{'boto3':>10}  ms")
    dearer = []
    for how, what in dict.fromkeys(key[:2] for key in spent):
        ours, theirs = figures[f"{how} {what} libcurl"], figures[f"{how} {what} boto3"]
        print(f"{how} {what:9}{ours:10.2f}{theirs:10.2f}")
        dearer += [f"a {how} {what} of ten takes {ours:.2f} ms with libcurl, {theirs:.2f} with boto3"] * (
            ours >= theirs)
    return verdict(figures, dearer, options.json)


if __name__ == "__main__":
    sys.exit(main())
