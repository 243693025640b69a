"""Dead letters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from irs.web.schemas.answers import Failure
from irs.web.schemas.base import ID, UUID, Model

_TIME = {"format": "date-time"}


class DeadLetter(Model):
    """A message that nobody could finish."""

    id: str = Field(description="The job; where the message is no job's, SQS's own id of it.",
                    json_schema_extra=UUID)
    job: bool = Field(description="Whether it is a job's. What is not is left by a redrive.")
    image: str | None = Field(description="The file's name, as it was uploaded.")
    received: str | None = Field(description="When the web tier had the image.")
    sent: str = Field(description="When its message was sent first.", json_schema_extra=_TIME)
    finished: str | None = Field(description="When its job's result was written.")
    status: Literal["failed", "done", "cancelled", "queued"] | None = Field(
        description="How its job stands. `queued`: it has no result so far, and a failure within half "
                    "a minute. `done`: it has a label, and the message could not be deleted.")
    attempts: int | None = Field(description="How often a worker had it.", ge=0)
    error: Failure | None = Field(description="Why it failed.")
    thumbnail: str | None = Field(description="Where its picture is.")


class DeadLetters(Model):
    """The newest dead letters, newest first."""

    total: int = Field(description="How many there are, about.", ge=0)
    partial: bool = Field(description="There are so many that newer ones may not have been looked at.")
    letters: list[DeadLetter]

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "total": 1, "partial": False, "letters": [{
            "id": ID, "job": True, "image": "test_0.JPEG", "received": "2026-11-22T21:29:30.123Z",
            "sent": "2026-11-22T21:29:30.140Z", "finished": "2026-11-22T21:32:08.001Z", "status": "failed",
            "attempts": 5, "error": {"code": "dead_letter", "message": "could not be classified in 5 "
                                     "attempts, each of which was cut off"},
            "thumbnail": f"/v1/dead-letters/{ID}/thumbnail"}]}]})


class RedriveSome(Model):
    """These jobs' letters."""

    ids: list[Annotated[str, Field(json_schema_extra=UUID)]] = Field(
        description="Ids of jobs.", min_length=1, max_length=1000)

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [ID]}]})


class RedriveAll(Model):
    """Every letter."""

    all: Literal[True]


class RedriveOutcome(Model):
    """What became of one letter."""

    id: str = Field(description="As it was named.", json_schema_extra=UUID)
    fate: Literal["sent", "done", "foreign", "absent", "failed"] = Field(
        description="`sent`: it is in the queue again. `done`: its job has a label or was cancelled; the "
                    "letter is deleted. `foreign`: no job's; it stays. `absent`: there is no such letter, "
                    "or another process has it. `failed`: it could not be sent, and stays.")
    message: str = Field(description="The same for a person.")


class RedriveCounts(Model):
    """How many there were of each fate."""

    sent: int = Field(description="In the queue again.", ge=0)
    done: int = Field(description="Had their label, or were cancelled.", ge=0)
    foreign: int = Field(description="No job's.", ge=0)
    absent: int = Field(description="Not there.", ge=0)
    failed: int = Field(description="Could not be sent.", ge=0)


class Redriven(Model):
    """What a redrive did."""

    outcomes: list[RedriveOutcome]
    counts: RedriveCounts
    more: bool = Field(description="It stopped before it came to each: ask again.")
