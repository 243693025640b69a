"""Outcomes and errors as text, JSON, problem details or a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, render_template, request

from irs import errors
from irs.web import awsjson, preferences, refusals
from irs.web.outcomes import Outcome, describe, overall
from irs.web.preferences import HTML, JSON, Wait
from irs.web.refusals import PROBLEM
from irs.web.services import services


def as_json(body: Any, status: int = 200, *, kind: str = JSON) -> Response:
    """``body`` as JSON, with names as they are rather than escaped."""
    return Response(json.dumps(body, ensure_ascii=False) + "\n", status, content_type=kind)


def as_line(text: str, status: int = 200) -> Response:
    """One line of text."""
    return Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")


def of_upload(outcomes: Sequence[Outcome], wait: Wait) -> Response:
    """The answer to ``POST /upload``, in the form that the client likes best."""
    form = preferences.media_type(request.accept_mimetypes)
    status = overall(outcomes)
    if form == JSON:
        response = as_json({"results": [outcome.as_dict() for outcome in outcomes]}, status)
    elif form == HTML:
        response = Response(render_template("results.html", cards=_cards(outcomes)), status)
    else:
        response = as_line("\n".join(outcome.line for outcome in outcomes), status)
    return with_job(response, outcomes, wait)


def with_job(response: Response, outcomes: Sequence[Outcome], wait: Wait) -> Response:
    """Headers for whoever must come back: where, when, and how long we waited."""
    if response.status_code == 202:
        first = next(outcome for outcome in outcomes if outcome.status == 202)
        response.headers["Location"] = str(first.location)
        last = [outcome.place for outcome in outcomes if outcome.status == 202][-1]
        response.headers["Retry-After"] = str(services().estimates.retry_after(last))
    elif response.status_code in (503, 504):
        response.headers["Retry-After"] = str(services().estimates.retry_after())
        if named := [outcome for outcome in outcomes if outcome.status in (503, 504) and outcome.id]:
            response.headers["Location"] = str(named[0].location)
    if wait.applied:
        response.headers["Preference-Applied"] = wait.applied
    return response


def problem(status: int, code: str, detail: str, more: Mapping[str, Any] | None = None) -> Response:
    """RFC 9457 problem details; ``code`` is stable, ``detail`` is for a person."""
    body = {"type": "about:blank", "title": refusals.phrase(status), "status": status,
            "detail": detail, "code": code, **(more or {})}
    return as_json(body, status, kind=PROBLEM)


def error(why: errors.IRSError, more: Mapping[str, Any] | None = None) -> Response:
    """An error that belongs to no file: problem details on /v1, one line elsewhere.

    Elsewhere a browser gets a page with the line, a client that asks for JSON the problem
    details, with ``more`` beside them, and a client of AWS's what it knows.
    """
    response = _error(refusals.status(why), refusals.code(why), str(why), more)
    response.headers.extend(refusals.headers(why))
    return response


def _error(status: int, code: str, detail: str, more: Mapping[str, Any] | None) -> Response:
    if awsjson.asked():
        return awsjson.error(code, detail)
    form = preferences.media_type(request.accept_mimetypes)
    if request.path == "/v1" or request.path.startswith("/v1/") or form == JSON:
        return problem(status, code, detail, more)
    if form == HTML:
        return Response(render_template("error.html", status=status, detail=detail,
                                        title=refusals.phrase(status)), status)
    return as_line(f"error: {detail}", status)


def _cards(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What the page of results shows for each file. The picture itself is not sent back."""
    return [{
        "name": outcome.image, "kind": outcome.kind, "id": outcome.id, "location": outcome.location,
        "predictions": outcome.result.predictions if outcome.result else (),
        "model": outcome.result.model if outcome.result else None,
        "error": outcome.failure.message if outcome.failure else None,
        "place": describe(outcome.place).removeprefix(", "),
    } for outcome in outcomes]
