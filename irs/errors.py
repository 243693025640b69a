"""The error tree. The docstring of a class says what happened; whether to retry is its type.

::

    IRSError
    ├── SettingsError            a setting does not parse or contradicts another
    ├── Refused                  the client's input; carries an HTTP status and a stable code
    │   ├── BadRequest           400  bad_request
    │   ├── NoFile               400  no_file
    │   ├── Unauthorized         401  unauthorized
    │   ├── Forbidden            403  forbidden
    │   ├── BucketNotAllowed     403  bucket_not_allowed
    │   ├── CallbacksOff         403  callbacks_off
    │   ├── ObjectDenied         403  object_denied
    │   ├── NoSuchObject         404  no_such_object
    │   ├── NoSuchUpload         404  no_such_upload
    │   ├── RequestTimeout       408  request_timeout
    │   ├── NotUploaded          409  not_uploaded
    │   ├── IdempotencyConflict  409  idempotency_conflict
    │   ├── TooLarge             413  too_large
    │   ├── UnsupportedFormat    415  unsupported_format
    │   ├── Undecodable          422  undecodable
    │   └── TooMany              429  too_many
    ├── Overloaded               503  more clients wait, or more work, than the service admits
    ├── OutOfMemory              this process has no memory for the image now
    ├── ModelError               the model, its weights or its engine cannot be used
    │   └── DeviceLost           what it computes on is gone for good, to this process
    └── CloudError               an AWS call failed
        ├── Retryable            the same call may succeed later
        │   ├── Throttled
        │   └── Unreachable      timeout, reset, 5xx, expired credentials being refreshed
        └── Permanent            the same call will fail again
            ├── NotFound
            │   ├── NoBucket     and not only the object in it
            │   └── NoGroup      of logs, and not only the stream in it
            ├── AlreadyExists
            ├── AccessDenied
            ├── BadReceipt       a receipt handle that has expired
            ├── Invalid          what was sent is not as the service wants it
            └── NoCapacity       EC2 has none of these instances now
"""

from __future__ import annotations

from typing import ClassVar


class IRSError(Exception):
    """Anything IRS raises on purpose; ``str()`` is one line fit for a person."""


class SettingsError(IRSError):
    """A setting does not parse or contradicts another; the message names the variable."""


class Refused(IRSError):
    """The client's input cannot be classified, and sending it again will not help."""

    #: of HTTP, and what programs know the refusal by
    status: ClassVar[int] = 400
    code: ClassVar[str] = "refused"

    def __init_subclass__(cls, *, status: int, code: str) -> None:
        cls.status, cls.code = status, code


class BadRequest(Refused, status=400, code="bad_request"):
    """The request itself is malformed."""


class NoFile(Refused, status=400, code="no_file"):
    """The request carries no file."""


class CallbacksOff(Refused, status=403, code="callbacks_off"):
    """A callback is asked for, and this service makes none."""


class Unauthorized(Refused, status=401, code="unauthorized"):
    """No API key, or none of ours."""


class Forbidden(Refused, status=403, code="forbidden"):
    """The request comes from another site's page, or nobody may do this here."""


class BucketNotAllowed(Refused, status=403, code="bucket_not_allowed"):
    """The image is in a bucket that the service does not read for its clients."""


class ObjectDenied(Refused, status=403, code="object_denied"):
    """The image is in a bucket that is allowed, and S3 does not give it to the service."""


class NoSuchObject(Refused, status=404, code="no_such_object"):
    """There is no object at the address that was given for the image."""


class RequestTimeout(Refused, status=408, code="request_timeout"):
    """The request did not arrive in the time that it has."""


class NoSuchUpload(Refused, status=404, code="no_such_upload"):
    """No direct upload of that id was announced, or it was not made in time."""


class NotUploaded(Refused, status=409, code="not_uploaded"):
    """A direct upload was announced, and its bytes are not there so far."""


class IdempotencyConflict(Refused, status=409, code="idempotency_conflict"):
    """The idempotency key belongs to another request."""


class TooLarge(Refused, status=413, code="too_large"):
    """More bytes or more pixels than the service takes."""


class UnsupportedFormat(Refused, status=415, code="unsupported_format"):
    """Not an image format the service takes."""


class Undecodable(Refused, status=422, code="undecodable"):
    """The header is an image's, the rest cannot be decoded."""


class TooMany(Refused, status=429, code="too_many"):
    """More requests or connections than one client may have.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(IRSError):
    """More clients wait, or more work, than the service admits.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutOfMemory(IRSError):
    """This process has no memory for the image now, which says nothing about the image."""

    code: ClassVar[str] = "out_of_memory"


class ModelError(IRSError):
    """The model, its weights or its engine cannot be used."""


class DeviceLost(ModelError):
    """The GPU answers this process no more, which says nothing about the image; a new one may reach it."""


class CloudError(IRSError):
    """An AWS call failed; ``code`` is AWS's own error code, for the log."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Retryable(CloudError):
    """The same call may succeed later."""


class Throttled(Retryable):
    """AWS asked for fewer calls."""


class Unreachable(Retryable):
    """No answer, or the answer that the service is unwell."""


class Permanent(CloudError):
    """The same call will fail again."""


class NotFound(Permanent):
    """No such bucket, key, queue or instance."""


class NoGroup(NotFound):
    """The log group does not exist, and not only the stream in it."""


class NoBucket(NotFound):
    """The bucket itself is not there, so this says nothing about any one object."""


class AlreadyExists(Permanent):
    """A create-once write found an object there, or a conditional one found it changed."""


class AccessDenied(Permanent):
    """The credentials do not allow this call."""


class BadReceipt(Permanent):
    """A receipt handle has expired or was never valid."""


class Invalid(Permanent):
    """What was sent is not as the service wants it."""


class NoCapacity(Permanent):
    """EC2 has none of these instances now, or the account's limit is reached."""


def words(exc: OSError) -> str:
    """The system's own words, without its number: ``Connection refused``, ``a.csv: Permission denied``."""
    wrapped = getattr(exc, "reason", None)  # urllib's errors have the system's within
    if isinstance(wrapped, OSError):
        return words(wrapped)
    if not exc.strerror:
        return str(exc)
    return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
