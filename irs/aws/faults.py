"""AWS's and obstore's errors become ours, in this one file; their codes never leave it.

Lists of codes: SQS, S3 and EC2 API references, "Common errors" and each action's errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import botocore.exceptions as boto
import obstore.exceptions as obs

from irs import errors

_THROTTLED = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
    "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "SlowDown", "KmsThrottled", "BandwidthLimitExceeded", "PriorRequestNotComplete",
})
#: Credentials that expired are renewed by the provider before the next try.
_UNREACHABLE = frozenset({
    "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout",
    "RequestTimeoutException", "ServiceFailure", "RequestExpired", "ExpiredToken",
    "ExpiredTokenException", "500", "502", "503", "504",
})
_NOT_FOUND = frozenset({
    "NoSuchKey", "NoSuchBucket", "404", "NotFound", "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist", "InvalidInstanceID.NotFound", "InvalidAMIID.NotFound", "NoSuchEntity",
    "InvalidInstanceID.Malformed", "NotFoundException",
})
_EXISTS = frozenset({
    "PreconditionFailed", "412", "ConditionalRequestConflict", "QueueAlreadyExists",
    "BucketAlreadyOwnedByYou", "BucketAlreadyExists", "QueueNameExists",
})
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure",
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId",
    "UnrecognizedClientException", "403", "AuthorizationError",
})
_RECEIPT = frozenset({
    "ReceiptHandleIsInvalid", "InvalidReceiptHandle", "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
})
_CAPACITY = frozenset({
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
    "InstanceLimitExceeded", "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow", "InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity",
    "UnfulfillableCapacity", "InsufficientCapacity", "Unsupported",
})
_TABLE: tuple[tuple[frozenset[str], type[errors.CloudError]], ...] = (
    (_THROTTLED, errors.Throttled), (_UNREACHABLE, errors.Unreachable),
    (_NOT_FOUND, errors.NotFound), (_EXISTS, errors.AlreadyExists),
    (_DENIED, errors.AccessDenied), (_RECEIPT, errors.BadReceipt), (_CAPACITY, errors.NoCapacity),
)


def classify(code: str, status: int = 0) -> type[errors.CloudError]:
    """The class for an AWS error code, or for its HTTP status where the code is unknown."""
    for codes, kind in _TABLE:
        if code in codes:
            return kind
    if status == 429:
        return errors.Throttled
    if status >= 500:
        return errors.Unreachable
    return errors.Permanent


def translate(exc: BaseException, what: str) -> errors.CloudError:
    """Our error for ``exc``; ``what`` says what was being done."""
    if isinstance(exc, boto.ClientError):
        error = exc.response.get("Error", {})
        code = str(error.get("Code", ""))
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = " ".join(str(error.get("Message", "")).split())
        return classify(code, status)(f"{what}: {message or code}", code=code)
    if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError):
        return errors.AccessDenied(f"{what}: no AWS credentials found", code="NoCredentials")
    if isinstance(exc, boto.ParamValidationError):
        return errors.Permanent(f"{what}: {' '.join(str(exc).split())}", code="ParamValidation")
    if isinstance(exc, FileNotFoundError | obs.NotFoundError):
        return errors.NotFound(f"{what}: not found", code="NoSuchKey")
    if isinstance(exc, obs.AlreadyExistsError | obs.PreconditionError):
        return errors.AlreadyExists(f"{what}: already there", code="PreconditionFailed")
    if isinstance(exc, obs.PermissionDeniedError | obs.UnauthenticatedError):
        return errors.AccessDenied(f"{what}: access denied", code="AccessDenied")
    if isinstance(exc, obs.BaseError):
        text = str(exc)
        for codes, kind in _TABLE:
            if any(f"<Code>{code}</Code>" in text for code in codes):
                return kind(f"{what}: {_first(text)}", code=kind.__name__)
        return errors.Unreachable(f"{what}: {_first(text)}", code=type(exc).__name__)
    # Endpoint, connect and read errors of botocore; resets and refusals of the system.
    return errors.Unreachable(f"{what}: {_first(str(exc)) or type(exc).__name__}",
                              code=type(exc).__name__)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise our error in place of AWS's, obstore's or the socket's."""
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, obs.BaseError, OSError) as exc:
        raise translate(exc, what) from exc


def _first(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line[:200]
