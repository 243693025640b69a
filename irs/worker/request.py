"""Celery's request, as far as a message that anybody may have sent is allowed to shape it."""

from __future__ import annotations

from typing import Any

from celery.exceptions import InvalidTaskError
from celery.worker import request

#: What Celery does after a task because the message says so: send other tasks, wherever the
#: message says. None of our senders asks for it.
LINKS = ("callbacks", "errbacks", "chain", "chord", "group")
#: Characters of a task's id; ours have 36.
_LONGEST_ID = 100


class Request(request.Request):
    """Set as the task's ``Request``. What it refuses goes to the dead-letter queue."""

    def __init__(self, message: Any, *, decoded: bool = False, **given: Any) -> None:
        if decoded:
            # Its body carries what `irs.broker.envelope` takes out of headers.
            raise InvalidTaskError("a message of Celery's first protocol")
        super().__init__(message, decoded=decoded, **given)
        if not (isinstance(self.id, str) and len(self.id) <= _LONGEST_ID and self.id.isprintable()):
            raise InvalidTaskError("the task's id is not a short printable string")
        # Another name for the log, chosen by the sender.
        self._request_dict.pop("shadow", None)
        self.name = self._type
        # What events, Celery's log and `inspect` show of the arguments: the second of ours is
        # a key that ends in a user's file name, and so does one of the others.
        self._argsrepr = self._request_dict["argsrepr"] = f"({self.id!r}, …)"
        self._kwargsrepr = self._request_dict["kwargsrepr"] = "{…}"

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Never the arguments themselves, whoever asks."""
        return super().info(safe=True)

    def send_event(self, type: str, **fields: Any) -> None:
        """Of what a task raised the type alone: a fault's text may name an object's key."""
        if "exception" in fields:
            fields["exception"] = str(fields["exception"]).partition("(")[0][:_LONGEST_ID]
            fields["traceback"] = None
        super().send_event(type, **fields)

    def revoked(self) -> bool:
        """Never: Celery would delete the message of a revoked task, which then has no result.

        A job that nobody wants any more is cancelled in the result store.
        """
        return False


def unlink(context: Any) -> None:
    """Forget what the running task's message wants done after it; call before the task ends."""
    for name in LINKS:
        setattr(context, name, None)
