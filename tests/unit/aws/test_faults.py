"""Foreign errors become ours: a table of codes."""

from __future__ import annotations

import botocore.exceptions as boto  # noqa: TID251 - the errors that come in
import obstore.exceptions as obs  # noqa: TID251 - the errors that come in
import pytest

from irs import errors
from irs.aws.faults import NO_CREDENTIALS, classify, translate, translated

CODES = [
    ("ThrottlingException", 400, errors.Throttled),
    ("RequestLimitExceeded", 503, errors.Throttled),
    ("SlowDown", 503, errors.Throttled),
    ("OverLimit", 403, errors.Throttled),
    ("AWS.SimpleQueueService.QueueDeletedRecently", 400, errors.Throttled),
    ("InternalError", 500, errors.Unreachable),
    ("ServiceUnavailable", 503, errors.Unreachable),
    ("RequestExpired", 400, errors.Unreachable),
    ("ExpiredToken", 400, errors.Unreachable),
    ("NoSuchKey", 404, errors.NotFound),
    ("NoSuchBucket", 404, errors.NoBucket),
    ("404", 404, errors.NotFound),
    ("AWS.SimpleQueueService.NonExistentQueue", 400, errors.NotFound),
    ("QueueDoesNotExist", 400, errors.NotFound),
    ("InvalidInstanceID.NotFound", 400, errors.NotFound),
    ("PreconditionFailed", 412, errors.AlreadyExists),
    ("ConditionalRequestConflict", 409, errors.AlreadyExists),
    ("BucketAlreadyOwnedByYou", 409, errors.AlreadyExists),
    ("AccessDenied", 403, errors.AccessDenied),
    ("UnauthorizedOperation", 403, errors.AccessDenied),
    ("InvalidClientTokenId", 403, errors.AccessDenied),
    ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", 403, errors.AccessDenied),
    ("SignatureDoesNotMatch", 403, errors.AccessDenied),
    ("ReceiptHandleIsInvalid", 400, errors.BadReceipt),
    ("MessageNotInflight", 400, errors.BadReceipt),
    ("ResourceAlreadyExistsException", 400, errors.AlreadyExists),
    ("InvalidParameterException", 400, errors.Invalid),
    ("InsufficientInstanceCapacity", 500, errors.NoCapacity),
    ("InstanceLimitExceeded", 400, errors.NoCapacity),
    ("VcpuLimitExceeded", 400, errors.NoCapacity),
    ("MaxSpotInstanceCountExceeded", 400, errors.NoCapacity),
    ("IdempotentParameterMismatch", 400, errors.AlreadyExists),
    ("SomethingNew", 400, errors.Permanent),
    ("SomethingNew", 429, errors.Throttled),
    ("SomethingNew", 500, errors.Unreachable),
    ("", 502, errors.Unreachable),
    ("", 0, errors.Permanent),
]


@pytest.mark.parametrize(("code", "status", "kind"), CODES, ids=lambda v: getattr(v, "__name__", v))
def test_codes(code: str, status: int, kind: type[errors.CloudError]) -> None:
    assert classify(code, status) is kind
    response = {"Error": {"Code": code, "Message": "two\n  lines"},
                "ResponseMetadata": {"HTTPStatusCode": status}}
    error = translate(boto.ClientError(response, "Call"), "SQS send")  # type: ignore[arg-type]
    assert type(error) is kind
    assert str(error) == "SQS send: two lines"
    assert error.code == code


def test_sqs_says_an_expired_receipt_with_a_common_code() -> None:
    expired = ("Value AQEB for parameter ReceiptHandle is invalid. "
               "Reason: The receipt handle has expired.")
    assert classify("InvalidParameterValue", 400, expired) is errors.BadReceipt
    assert classify("InvalidParameterValue", 400, "Value 11 for parameter X") is errors.Permanent


EXCEPTIONS = [
    (boto.NoCredentialsError(), errors.AccessDenied, NO_CREDENTIALS),
    (boto.EndpointConnectionError(endpoint_url="http://x"), errors.Unreachable, "http://x"),
    (boto.ReadTimeoutError(endpoint_url="http://x"), errors.Unreachable, "http://x"),
    (boto.ConnectTimeoutError(endpoint_url="http://x"), errors.Unreachable, "http://x"),
    (boto.ConnectionClosedError(endpoint_url="http://x"), errors.Unreachable, "http://x"),
    (boto.ParamValidationError(report="bad\nthing"), errors.Permanent, "bad thing"),
    (ConnectionResetError(104, "reset"), errors.Unreachable, "reset"),
    (TimeoutError(), errors.Unreachable, "TimeoutError"),
    (obs.NotFoundError("x"), errors.NotFound, "not found"),
    (FileNotFoundError("x"), errors.NotFound, "not found"),
    (obs.AlreadyExistsError("x"), errors.AlreadyExists, "already there"),
    (obs.PreconditionError("x"), errors.AlreadyExists, "already there"),
    (obs.PermissionDeniedError("x"), errors.AccessDenied, "access denied"),
    (obs.UnauthenticatedError("x"), errors.AccessDenied, "access denied"),
    (obs.InvalidPathError("a//b"), errors.Permanent, "a//b"),
    (obs.GenericError("no answer\ndebug"), errors.Unreachable, "no answer"),
    (obs.GenericError("503:\n<Error><Code>SlowDown</Code></Error>"), errors.Throttled, "503:"),
    (obs.GenericError("<Code>NoSuchBucket</Code>"), errors.NoBucket, "NoSuchBucket"),
]


@pytest.mark.parametrize(("exc", "kind", "text"), EXCEPTIONS, ids=lambda v: type(v).__name__)
def test_exceptions(exc: Exception, kind: type[errors.CloudError], text: str) -> None:
    with pytest.raises(errors.CloudError) as caught, translated("S3 GET"):
        raise exc
    assert type(caught.value) is kind
    assert str(caught.value).startswith("S3 GET: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code
    assert caught.value.__cause__ is exc


def test_our_own_mistakes_pass_through() -> None:
    with pytest.raises(KeyError), translated("S3 GET"):
        raise KeyError("bug")


def test_our_own_errors_are_not_translated_twice() -> None:
    with pytest.raises(errors.NotFound, match=r"^inner$"), translated("outer"):
        raise errors.NotFound("inner")


@pytest.mark.parametrize("text", [
    "Generic S3 error: Error performing GET http://127.0.0.1:9/in/ID/USERFILE.JPEG in 4ms - down",
    "Object at location ID/USERFILE.JPEG not found: Error performing HEAD https://s3/ID/USERFILE.JPEG",
    "Object at location ID/USER FILE.JPEG already exists: Request failure for path ID/USER FILE.JPEG: x",
])
def test_no_key_of_an_object_gets_into_a_message(text: str) -> None:
    message = str(translate(obs.GenericError(text), "S3 GET"))
    assert "FILE" not in message
    assert message.startswith("S3 GET: ")
