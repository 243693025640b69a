"""Which AWS call a request is, and how each service words an error."""

from __future__ import annotations

import json
import re
import urllib.parse
from dataclasses import dataclass
from enum import StrEnum

from irs.testing.proxy.wire import Reply, Request

#: Signature V4 names the service: Credential=KEY/DATE/REGION/SERVICE/aws4_request.
_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/aws4_request")
#: S3's operations by method: on an object and on a bucket.
_OBJECT = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
_BUCKET = {"GET": "ListObjectsV2", "PUT": "CreateBucket", "HEAD": "HeadBucket",
           "DELETE": "DeleteBucket", "POST": "DeleteObjects"}
#: What names the thing that a query or JSON call is about, in this order.
_TARGETS = ("QueueUrl", "QueueName", "TopicArn", "InstanceId.1", "Name")


class ErrorCode(StrEnum):
    """AWS's codes for the faults that one wants most; any other string will do as well."""

    INTERNAL = "InternalError"
    UNAVAILABLE = "ServiceUnavailable"
    SLOW_DOWN = "SlowDown"
    THROTTLED = "RequestThrottled"
    EXPIRED = "ExpiredToken"
    DENIED = "AccessDenied"
    NO_BUCKET = "NoSuchBucket"
    NO_QUEUE = "QueueDoesNotExist"
    NO_CAPACITY = "InsufficientInstanceCapacity"


#: Codes that older clients know by another name; AWS sends both.
_QUERY_NAMES = {ErrorCode.NO_QUEUE: "AWS.SimpleQueueService.NonExistentQueue"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One AWS call."""

    #: ``sqs``, ``s3``, ``ec2``, ``sns``; empty where the request does not say
    service: str
    #: AWS's own name: ReceiveMessage, PutObject
    operation: str
    #: queue, topic or instance; ``bucket/key`` in S3
    target: str


def recognise(request: Request) -> Call:
    """The call that ``request`` makes."""
    scope = _SCOPE.search(request.header("authorization"))
    service = scope[1] if scope else ""
    named = request.header("x-amz-target")
    if named:
        owner, _, operation = named.partition(".")
        return Call(service=service or owner.lower().removeprefix("amazon"), operation=operation,
                    target=_target(_json(request.body)))
    kind = request.header("content-type")
    if kind.startswith("application/x-www-form-urlencoded") and service != "s3":
        form = dict(urllib.parse.parse_qsl(request.body.decode("latin-1")))
        if "Action" in form:
            return Call(service=service, operation=form["Action"], target=_target(form))
    path = urllib.parse.unquote(urllib.parse.urlsplit(request.target).path).strip("/")
    names = _OBJECT if "/" in path else _BUCKET
    return Call(service=service or "s3", operation=names.get(request.method, request.method),
                target=path)


def _json(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _target(fields: dict[str, object] | dict[str, str]) -> str:
    for name in _TARGETS:
        if name in fields:
            return str(fields[name]).rpartition("/")[2]
    return ""


def refusal(request: Request, call: Call, status: int, code: str) -> Reply:
    """The error ``code`` in the words of ``call``'s service and protocol."""
    message = f"injected: {code}"
    if request.header("x-amz-target"):
        side = "Sender" if status < 500 else "Receiver"
        return Reply(
            status=status,
            headers=(("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-RequestId", "injected"),
                     ("x-amzn-query-error", f"{_QUERY_NAMES.get(code, code)};{side}")),  # type: ignore[call-overload]
            body=json.dumps({"__type": f"com.amazonaws.{call.service}#{code}",
                             "message": message}).encode())
    if call.service == "ec2":
        body = (f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>"
                "</Errors><RequestID>injected</RequestID></Response>")
    elif call.service == "s3":
        body = (f"<Error><Code>{code}</Code><Message>{message}</Message>"
                "<RequestId>injected</RequestId></Error>")
    else:
        body = (f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
                f"<Message>{message}</Message></Error><RequestId>injected</RequestId></ErrorResponse>")
    head = request.method == "HEAD"
    return Reply(status=status, headers=(("Content-Type", "application/xml"),),
                 body=b"" if head else f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode(),
                 declared="0" if head else None)
