"""A fault proxy: put it between one tier and its endpoint, and add rules.

::

    with Proxy("http://127.0.0.1:4566", seed=1) as proxy:
        run_worker(endpoint=proxy.endpoint)
        fault = proxy.add(Rule(service="sqs", operations={"ReceiveMessage"}, action=Answer(503)))
        ...
        fault.clear()
        assert fault.fired  # a fault that did not fire has shown nothing

It speaks plain HTTP on loopback and knows SQS, S3, EC2 and SNS calls by name. One rule acts
on one call: the first, in order of adding, that matches and has shots left.
"""

from irs.testing.proxy.calls import Call, ErrorCode
from irs.testing.proxy.rules import (
    Action,
    Answer,
    Delay,
    Duplicate,
    Hang,
    Injection,
    LoseReply,
    Reset,
    Rewrite,
    Rule,
    Stale,
)
from irs.testing.proxy.server import Exchange, Proxy
from irs.testing.proxy.wire import Reply, Request

__all__ = [
    "Action", "Answer", "Call", "Delay", "Duplicate", "ErrorCode", "Exchange", "Hang", "Injection",
    "LoseReply", "Proxy", "Reply", "Request", "Reset", "Rewrite", "Rule", "Stale",
]
