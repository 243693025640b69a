"""What it costs to count a call to AWS: `python bench/calls_cost.py`.

Microseconds a call, the least of several rounds: of the counting alone, and of boto3's hooks
beside a whole call of boto3's that is answered without a network. Measured on two cores of an
AMD EPYC: 1.7 µs for a call of obstore's (160 to 300 µs of processor time), 7 to 9 µs for one of
boto3's (1 to 3 ms).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from irs import settings as settings_module
from irs.aws import calls, clients

#: Calls a round, and rounds.
CALLS, ROUNDS = 2_000, 7


def cost(call: Callable[[], object]) -> float:
    """Microseconds a call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - began) / CALLS)
    return best * 1e6


def counted() -> None:
    with calls.timed("s3", "PutObject"):
        pass


def main() -> None:
    settings = settings_module.build({
        "aws_endpoint_url": "http://127.0.0.1:9", "aws_access_key_id": "x", "aws_secret_access_key": "x"})
    print(f"counting one call       {cost(counted):8.1f} µs")
    sqs = clients.client(settings, "sqs")

    class Answered:
        status_code = 200

    sqs.meta.events.register("before-call", lambda **_: (Answered(), {"ResponseMetadata": {}}))

    def ask() -> None:
        sqs.get_queue_url(QueueName="q")

    watched = cost(ask)
    plain = clients.session(settings).client("sqs", endpoint_url=settings.aws_endpoint_url)
    plain.meta.events.register("before-call", lambda **_: (Answered(), {"ResponseMetadata": {}}))
    bare = cost(lambda: plain.get_queue_url(QueueName="q"))
    print(f"boto3 before its network {bare:7.1f} µs, watched {watched:.1f} µs: {watched - bare:+.1f} µs")


if __name__ == "__main__":
    main()
