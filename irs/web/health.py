"""``/healthz``: this process lives. ``/readyz``: what it needs can be reached."""

from __future__ import annotations

from flask import Blueprint, Response

from irs import __version__, errors
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.settings import Settings
from irs.web import answers, preferences
from irs.web.describing import TEXT, describes
from irs.web.refusals import PROBLEM
from irs.web.services import services

#: Seconds for which one look at the endpoint answers every prober.
FRESH = 1.0
#: Seconds after which an endpoint that has not answered counts as unreachable.
PATIENCE = 2.0

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@describes("Whether the process is alive", tag="service", answers={
    200: ("`alive`, and the version.", {preferences.TEXT: TEXT})})
def healthz() -> Response:
    """Alive, and the version; asks nobody."""
    return answers.as_line(f"alive {__version__}")


@blueprint.get("/readyz")
@describes("Whether clients should be sent here", tag="service", answers={
    200: ("Queues and bucket can be reached.", {preferences.TEXT: TEXT}),
    503: ("They cannot, or the process is stopping.", {preferences.TEXT: TEXT, PROBLEM: "Problem"})})
def readyz() -> Response:
    """Whether a load balancer should send clients here."""
    web = services()
    if web.drain.begun:
        return _not_ready("stopping")
    try:
        web.ready.value()
    except errors.CloudError as exc:
        return _not_ready(str(exc))
    return answers.as_line("ready")


def look(settings: Settings) -> None:
    """Ask for both queues and the input bucket; raises `errors.CloudError`."""
    for name in (settings.input_queue, settings.output_queue):
        Queue(settings, name).attributes("QueueArn")
    # A list, not a HEAD: a HEAD cannot tell a missing key from a missing bucket.
    next(Objects(settings, settings.input_bucket).keys("readyz/"), None)


def _not_ready(why: str) -> Response:
    response = answers.as_line(f"not ready: {why}", 503)
    response.headers["Retry-After"] = "1"
    return response
