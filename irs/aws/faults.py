"""AWS's and obstore's errors become ours, in this one file; their codes never leave it.

Lists of codes: SQS, S3 and EC2 API references, "Common errors" and each action's errors.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import botocore.exceptions as boto
import obstore.exceptions as obs

from irs import errors

#: For whoever is in the wrong directory as well.
NO_CREDENTIALS = "no AWS credentials found; `irs up` brings its own, for commands in its directory"

_THROTTLED = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
    "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "SlowDown", "KmsThrottled", "KMS.ThrottlingException", "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    # SQS: so many messages are in flight, or so soon after a queue of that name was deleted.
    "OverLimit", "QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently",
})
#: Credentials that expired are renewed by the provider before the next try.
_UNREACHABLE = frozenset({
    "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout",
    "RequestTimeoutException", "ServiceFailure", "RequestExpired", "ExpiredToken",
    "ExpiredTokenException", "500", "502", "503", "504",
})
_NOT_FOUND = frozenset({
    "NoSuchKey", "NoSuchVersion", "NoSuchLifecycleConfiguration", "404", "NotFound",
    "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist",
    "InvalidInstanceID.NotFound", "InvalidAMIID.NotFound", "NoSuchEntity",
    "InvalidInstanceID.Malformed", "NotFoundException", "ResourceNotFoundException",
    "ParameterNotFound", "InvalidSnapshot.NotFound", "InvalidAMIID.Unavailable",
})
_NO_BUCKET = frozenset({"NoSuchBucket"})
_EXISTS = frozenset({
    "PreconditionFailed", "412", "ConditionalRequestConflict", "QueueAlreadyExists",
    "BucketAlreadyOwnedByYou", "BucketAlreadyExists", "QueueNameExists",
    # A launch of that ClientToken is there, made with other parameters.
    "IdempotentParameterMismatch",
    "ResourceAlreadyExistsException",
})
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure",
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId",
    "UnrecognizedClientException", "403", "AuthorizationError",
    # The first spot launch of an account: docs/deploy.md.
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
})
_RECEIPT = frozenset({
    "ReceiptHandleIsInvalid", "InvalidReceiptHandle", "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
})
_INVALID = frozenset({"InvalidParameterException"})
_CAPACITY = frozenset({
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
    "InstanceLimitExceeded", "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow", "InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity",
    "UnfulfillableCapacity", "InsufficientCapacity", "Unsupported",
})
_TABLE: tuple[tuple[frozenset[str], type[errors.CloudError]], ...] = (
    (_THROTTLED, errors.Throttled), (_UNREACHABLE, errors.Unreachable),
    (_NO_BUCKET, errors.NoBucket), (_NOT_FOUND, errors.NotFound), (_EXISTS, errors.AlreadyExists),
    (_DENIED, errors.AccessDenied), (_RECEIPT, errors.BadReceipt), (_INVALID, errors.Invalid),
    (_CAPACITY, errors.NoCapacity),
)
#: Exceptions without a code of AWS's: class, ours, message (empty: theirs), code for the log.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], type[errors.CloudError], str, str], ...] = (
    ((boto.NoCredentialsError, boto.PartialCredentialsError), errors.AccessDenied,
     NO_CREDENTIALS, "NoCredentials"),
    ((boto.ParamValidationError,), errors.Permanent, "", "ParamValidation"),
    ((obs.NotFoundError, FileNotFoundError), errors.NotFound, "not found", "NoSuchKey"),
    ((obs.AlreadyExistsError, obs.PreconditionError), errors.AlreadyExists, "already there",
     "PreconditionFailed"),
    ((obs.PermissionDeniedError, obs.UnauthenticatedError), errors.AccessDenied, "access denied",
     "AccessDenied"),
    ((obs.InvalidPathError, obs.NotSupportedError, obs.UnknownConfigurationKeyError),
     errors.Permanent, "", "InvalidRequest"),
)

#: What obstore says of an object: its URL, or where it is.
_NAMED = re.compile(
    r"(?<=[^/:]/)[^\s\"/]*/\S+|(?<=location ).*?(?= not found| already)|(?<=for path ).*?(?=: )")


def classify(code: str, status: int = 0, message: str = "") -> type[errors.CloudError]:
    """The class for an AWS error code, or for its HTTP status where the code is unknown.

    ``message`` tells apart what AWS gives one code: SQS says InvalidParameterValue both
    for a parameter that is wrong and for a receipt handle that has expired, CloudWatch Logs
    ResourceNotFoundException both for a stream and for its group.
    """
    if code == "InvalidParameterValue" and "ReceiptHandle" in message:
        return errors.BadReceipt
    if code == "ResourceNotFoundException" and "log group does not exist" in message:
        return errors.NoGroup
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
        return classify(code, status, message)(f"{what}: {message or code}", code=code)
    for types, kind, text, code in _KINDS:
        if isinstance(exc, types):
            if kind is errors.NotFound and "<Code>NoSuchBucket</Code>" in str(exc):
                return errors.NoBucket(f"{what}: the bucket does not exist", code="NoSuchBucket")
            return kind(f"{what}: {text or ' '.join(str(exc).split())}", code=code)
    line = _first(str(exc)) or type(exc).__name__
    if isinstance(exc, obs.BaseError):
        # obstore hands S3's answer on as text.
        for codes, kind in _TABLE:
            if any(f"<Code>{code}</Code>" in str(exc) for code in codes):
                return kind(f"{what}: {line}", code=kind.__name__)
    # Endpoint, connect and read errors of botocore and obstore; the system's own.
    return errors.Unreachable(f"{what}: {line}", code=type(exc).__name__)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise our error in place of AWS's, obstore's or the socket's."""
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, obs.BaseError, OSError) as exc:
        raise translate(exc, what) from exc


def _first(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    # obstore names the object, by URL and by path, and a key may hold a user's file name.
    return _NAMED.sub("…", line)[:200]
