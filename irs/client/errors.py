"""What goes wrong for a client. The docstring of a class says what happened.

::

    ClientError                  anything the client raises; `id` where it belongs to a job
    ├── Unreadable               the image cannot be read here; nothing was sent
    ├── Refused                  the service said no, and will say so again: `code`, `status`
    │   ├── Unauthorized         401, 403 forbidden: the API key
    │   ├── NotFound             404: no such job, batch or object in S3
    │   └── Failed               it became a job, and the job ended without a label
    ├── Overloaded               429, 503: the service is busy, and stayed so
    ├── Unreachable              no answer, or not one of the service's
    └── TimedOut                 no result within the wait; the job goes on

`Overloaded`, `Unreachable` and `TimedOut` say nothing about the image: the same call may
succeed later. They come after the client's own retries.
"""

from __future__ import annotations

from irs.errors import IRSError


class ClientError(IRSError):
    """Something went wrong between a client and the service; ``str()`` is one line.

    ``id`` is the job's or batch's, where there is one: ask for that before sending again.
    ``code`` is stable and for programs.
    """

    code: str = "error"

    def __init__(self, message: str, *, id: str | None = None) -> None:
        super().__init__(message)
        self.id = id


class Unreadable(ClientError):
    """The image cannot be read on this side; nothing of it became a job."""

    code = "unreadable"


class Refused(ClientError):
    """The service will not do it, and asking again will not help.

    ``code`` is the service's (docs/http-api.md lists them), ``status`` is HTTP's.
    """

    def __init__(self, message: str, *, code: str, status: int, id: str | None = None) -> None:
        super().__init__(message, id=id)
        self.code = code
        self.status = status


class Unauthorized(Refused):
    """The service wants an API key, or another one."""


class NotFound(Refused):
    """The service knows no such job or batch, or there is no such object in S3."""


class Failed(Refused):
    """The image became a job, and the job ended without a label.

    ``code`` is the job's: undecodable, gave_up, …, or cancelled.
    """


class Overloaded(ClientError):
    """The service asks to come back later. ``retry_after`` is in seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float, id: str | None = None) -> None:
        super().__init__(message, id=id)
        self.retry_after = retry_after


class Unreachable(ClientError):
    """Nothing answered at the address, or something that is not the service."""

    code = "unreachable"


class TimedOut(ClientError):
    """There is no result yet. The job or batch goes on: wait for its ``id`` again."""

    code = "timed_out"
