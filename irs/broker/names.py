"""Names of the control queues and topics: bounded, and told apart from the task queue."""

from __future__ import annotations

import hashlib
import re
import uuid

from irs.settings import Settings

#: SQS: characters of a queue's name.
LONGEST = 80
#: Tells this process's control queue from that of an earlier worker of the same name, whose
#: commands are not for this one and whose name SQS holds back for 60 s after its deletion.
#: Nobody else needs to know the name: commands reach the queue through its subscription.
PROCESS = uuid.uuid4().hex[:8]
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


def control_prefix(settings: Settings) -> str:
    """What every control queue and topic of this deployment begins with."""
    return f"{settings.cluster}-ctl-"


def sqs_name(settings: Settings, name: str) -> str:
    """The SQS queue (or SNS topic) for an AMQP queue (or exchange).

    The task queues keep their names. A control name that is too long ends in its digest,
    so that both sides of a conversation still compute the same one.
    """
    if name in (settings.input_queue, settings.output_queue, settings.dead_letter_queue):
        return name
    if name.endswith(".pidbox") and "@" in name and ".reply." not in name:
        name = f"{name}-{PROCESS}"
    legal = control_prefix(settings) + _ILLEGAL.sub("_", name)
    if len(legal) <= LONGEST:
        return legal
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{legal[:LONGEST - 17]}-{digest}"
