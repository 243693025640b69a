"""AWS's JSON protocol 1.1, as far as an answer needs it: its content type and its errors.

https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html; types and statuses are those of
Rekognition's API reference and of AWS's "Common Errors".
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from flask import Response, request

KIND = "application/x-amz-json-1.1"
#: The header that names the service and the operation.
TARGET = "X-Amz-Target"

#: Our codes as error types of theirs; any other is the service's own failure.
_TYPES = {
    "bad_request": "InvalidParameterException",
    "no_file": "InvalidParameterException",
    "unsupported_format": "InvalidImageFormatException",
    "undecodable": "InvalidImageFormatException",
    "too_large": "ImageTooLargeException",
    "bucket_not_allowed": "InvalidS3ObjectException",
    "object_denied": "InvalidS3ObjectException",
    "no_such_object": "InvalidS3ObjectException",
    # No retry would bring it back.
    "cancelled": "ResourceNotFoundException",
    "unauthorized": "UnrecognizedClientException",
    "forbidden": "AccessDeniedException",
    "request_timeout": "RequestTimeoutException",
    # What their clients take for "later", and try again by themselves.
    "too_many": "ThrottlingException",
    "overloaded": "ThrottlingException",
    "lost": "ThrottlingException",
}
_FAILURE = "InternalServerError"


def asked() -> bool:
    """Whether the request is one of this protocol."""
    return request.method == "POST" and request.path == "/" and TARGET in request.headers


def answer(body: dict[str, Any], status: int = 200, *, request_id: str | None = None) -> Response:
    """An answer; ``request_id`` is what a client logs, and where there is a job its id."""
    response = Response(json.dumps(body, ensure_ascii=False), status, content_type=KIND)
    response.headers["x-amzn-RequestId"] = request_id or str(uuid.uuid4())
    return response


def error(code: str, message: str, *, request_id: str | None = None) -> Response:
    """The error for one of our codes."""
    return typed(_TYPES.get(code, _FAILURE), message, request_id=request_id)


def typed(kind: str, message: str, *, request_id: str | None = None) -> Response:
    """The error of a type of theirs."""
    response = answer({"__type": kind, "message": message}, 500 if kind == _FAILURE else 400,
                      request_id=request_id)
    response.headers["x-amzn-ErrorType"] = kind
    return response
