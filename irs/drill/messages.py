"""Messages for the input queue: a task's, as Celery writes it, and garbage."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime

from irs.domain import keys, tasks
from irs.domain.jobs import stamp
from irs.settings import Settings


def task(settings: Settings, job_id: str, name: str, *, task_name: str = tasks.CLASSIFY) -> str:
    """The body of a message for a job, in Celery's protocol 2 and kombu's envelope."""
    kwargs = {"name": name, "received": stamp(datetime.now(UTC))}
    arguments = [[job_id, keys.input_key(job_id, name)], kwargs,
                 {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    return json.dumps({
        "body": base64.b64encode(json.dumps(arguments).encode()).decode(),
        "content-encoding": "utf-8", "content-type": "application/json",
        "headers": {"lang": "py", "task": task_name, "id": job_id, "root_id": job_id,
                    "parent_id": None, "group": None, "retries": 0, "timelimit": [None, None],
                    "argsrepr": repr((job_id,)), "kwargsrepr": "{}", "origin": "irs drill"},
        "properties": {"correlation_id": job_id, "reply_to": "", "delivery_mode": 2,
                       "delivery_info": {"exchange": "", "routing_key": settings.input_queue},
                       "priority": 0, "body_encoding": "base64", "delivery_tag": str(uuid.uuid4())},
    })


def garbage(settings: Settings, token: str) -> list[str]:
    """What no worker understands; ``token`` is in each, so that it is found again."""
    unknown = task(settings, keys.new_id(), token, task_name=f"irs.{token}")
    malformed = json.loads(task(settings, keys.new_id(), token))
    malformed["body"] = base64.b64encode(b"[[1, 2, 3], {}, {}]").decode()
    malformed["headers"]["origin"] = token
    later = json.loads(task(settings, keys.new_id(), token))
    later["headers"] = {"task": 7, "version": 99, "origin": token}
    return [f"not JSON: {token}", json.dumps({"token": token}), json.dumps([token]), unknown,
            json.dumps(malformed), json.dumps(later)]
