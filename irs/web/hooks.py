"""``callback_url``: where a client wants a result sent, and what became of that."""

from __future__ import annotations

from flask import Blueprint, Response, request

from irs import errors
from irs.domain import addresses, keys
from irs.domain.callbacks import IMAGE, Record
from irs.domain.jobs import Status
from irs.web import answers
from irs.web.describing import JOB_ID, describes
from irs.web.services import services

#: The name in a query, a form or a JSON body.
NAME = "callback_url"
#: Seconds after which a callback that is made once more has probably been answered.
ASK_AGAIN = 5

blueprint = Blueprint("hooks", __name__, url_prefix="/v1")


def asked(given: object = None) -> str | None:
    """The URL that is ``given`` by the request's form or JSON body, or else that of its query.

    Raises `errors.BadRequest` for one that is none, or may not be called, and
    `errors.CallbacksOff`. Whether a name's addresses are public is judged when it is called.
    """
    found = [given] if given is not None else request.args.getlist(NAME)
    if not found:
        return None
    if len(found) > 1:
        raise errors.BadRequest(f"{NAME} is given twice")
    settings = services().settings
    if settings.callback_secret is None:
        raise errors.CallbacksOff(f"this service makes no callbacks: without {NAME} it takes the image; "
                                  "to have them, set IRS_CALLBACK_SECRET")
    (text,) = found
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if not isinstance(text, str):
        raise errors.BadRequest(f"{NAME} must be a string")
    try:
        return addresses.parse(text, addresses.networks(settings.callback_networks)).url
    except ValueError as exc:
        raise errors.BadRequest(f"{NAME} {exc}") from None


@blueprint.get("/images/<text>/callback")
@describes("What became of a job's callback", tag="images", params=(JOB_ID,),
           answers={200: ("How it stands.", "Callback")},
           refuses=(errors.CallbacksOff, (404, Status.UNKNOWN)))
def status(text: str) -> Response:
    """What became of a job's callback."""
    return report(text, IMAGE)


@blueprint.post("/images/<text>/callback")
@describes("Make a job's callback once more", tag="images", params=(JOB_ID,), example="-X POST",
           about="For a receiver that is mended. One that is still being tried goes on as it is.",
           answers={202: ("How it stands.", "Callback")},
           refuses=(errors.CallbacksOff, (404, Status.UNKNOWN)))
def again(text: str) -> Response:
    """Makes a job's callback once more."""
    return repeat(text, IMAGE)


def report(text: str, about: str) -> Response:
    """What became of the callback of that id and kind, or that there is none."""
    record = _record(text, about)
    return answers.as_json(record.report()) if record is not None else _none(about)


def repeat(text: str, about: str) -> Response:
    """Call anew, for a receiver that is mended; what is still being tried goes on as it is."""
    record = _record(text, about)
    if record is None:
        return _none(about)
    if record.state.final:
        record = services().cloud.callbacks.again(record)
    response = answers.as_json(record.report(), 202)
    response.headers["Location"] = request.path
    response.headers["Retry-After"] = str(ASK_AGAIN)
    return response


def _record(text: str, about: str) -> Record | None:
    callbacks = services().cloud.callbacks
    try:
        record = callbacks.find(keys.parse_id(text))
    except ValueError:
        return None
    return record if record is not None and record.about == about else None


def _none(about: str) -> Response:
    return answers.problem(404, str(Status.UNKNOWN), f"no such {about}, or it was sent without {NAME}")
