"""``/v1/events``: what becomes of many jobs, as it happens, on one connection."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Status
from irs.web import documents
from irs.web.describing import describes
from irs.web.outcomes import Place, place_dict
from irs.web.services import Services, services
from irs.web.streams import JOBS, Stream
from irs.web.uploads import client_gone
from irs.web.waiting import SLICE

STREAM = "text/event-stream"
#: Bytes of the request: its ids with room to spare.
MOST = JOBS * 48 + documents.SMALL
#: Seconds that a stream lasts. Its thread is somebody else's then, and the client asks again
#: for what it still waits for.
LIFE = 300.0
#: Seconds without a word after which one is sent: less than the shortest patience of proxies
#: that is common, 30 s, with room for one that is late.
BEAT = 10.0
#: Seconds between looks at the queue's length.
PLACE = 2.0
#: Seconds after which a client that finds no place asks again; the jobs it asks for one by one.
AGAIN = 15

blueprint = Blueprint("events", __name__, url_prefix="/v1")


@blueprint.post("/events")
@describes(
    "Follow many jobs at once",
    tag="images",
    about="Server-sent events on one connection, for at most 2,000 jobs, whichever web process took "
          "them: `result` with each job's Result, at once where there is one already; `unknown` with the "
          "id of a job that there is not; `queue` with the place and the estimate of a job that would be "
          "sent now; and at last `end`, when every job has been told of, after five minutes, or when the "
          "process stops. `left` of it says how many jobs are left: ask again for those. As the request "
          "names the jobs that are not known to have ended, nothing is missed between two streams.",
    body={"application/json": "Followed"},
    answers={200: ("The events, each of this form.", {STREAM: "Event"})},
    refuses=(errors.BadRequest,),
    example="-N -H 'Content-Type: application/json' "
            "-d '{\"ids\": [\"7f3c2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11\"]}'",
)
def follow() -> Response:
    """Tell of each of the jobs when it has a result, until all have."""
    web = services()
    ids = _ids(documents.received(request.stream, max_bytes=MOST))
    if web.drain.begun:
        raise errors.Overloaded("the service is restarting, try again", retry_after=1)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(web.streams.open(ids, retry_after=AGAIN))
        response = Response(_told(web, stream, client_gone()), content_type=STREAM)
        # nginx's own: send on what comes, do not gather it.
        response.headers["X-Accel-Buffering"] = "no"
        response.call_on_close(stack.pop_all().close)
    return response


def _ids(document: dict[str, Any]) -> list[str]:
    given = document.get("ids")
    if not isinstance(given, list) or not 1 <= len(given) <= JOBS:
        raise errors.BadRequest(f"ids is a list of 1 to {JOBS} jobs' ids")
    try:
        return list(dict.fromkeys(keys.parse_id(text) for text in given))
    except ValueError:
        raise errors.BadRequest("ids has something that is no job's id") from None


def _told(web: Services, stream: Stream, gone: Callable[[], bool]) -> Iterator[bytes]:
    clock = web.streams.clock
    end = clock() + LIFE
    said, looked = clock(), float("-inf")
    place: Place | None = None
    yield b": here\n\n"  # so that the client knows at once that it is heard
    while not gone():
        stream.look()
        told = [_news(what) for what in stream.news(SLICE)]
        now = clock()
        if now - looked >= PLACE and stream.left:
            looked, was, place = now, place, web.estimates.place()
            if place is not None and place != was:
                told.append(_event("queue", place_dict(place)))
        if now - said >= BEAT and not told:
            told.append(b": still here\n\n")
        if told:
            said = now
            yield b"".join(told)
        left = stream.left
        if not left or web.drain.begun or now >= end:
            yield _event("end", {"left": left})
            return


def _news(what: Any) -> bytes:
    if isinstance(what, str):
        return _event("unknown", {"id": what, "status": str(Status.UNKNOWN)})
    return _event("result", what.as_dict())


def _event(name: str, data: dict[str, Any]) -> bytes:
    # JSON has no line end of its own, and what it escapes need not be UTF-8's trouble.
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
