"""in = out, for the uploads of one drill: what was accepted, what became of it, and twice or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from irs import errors
from irs.domain import keys
from irs.drill.client import Reply
from irs.drill.load import Upload
from irs.drill.pictures import Picture

#: A good image is answered with its result or its job, or told to come again.
PASSING = (200, 202, 429, 503, 504)


class Inputs(Protocol):
    """The input bucket, as far as it is listed."""

    def keys(self) -> Iterator[str]: ...


class Outputs(Protocol):
    """The output bucket, as far as it is read."""

    def get_tagged(self, key: str) -> tuple[bytes, str]: ...


class Jobs(Protocol):
    """The service, as far as it is asked for a job."""

    def job(self, job_id: str) -> Reply: ...


class Books:
    """Not thread-safe. Methods raise `errors.CloudError`."""

    def __init__(self, *, jobs: Jobs, inputs: Inputs, outputs: Outputs) -> None:
        self._jobs, self._inputs, self._outputs = jobs, inputs, outputs
        #: job id to its image, of every upload that was accepted, or may have been
        self.accepted: dict[str, Picture] = {}
        #: job id to its result as the service tells it
        self.results: dict[str, Mapping[str, Any]] = {}
        self._stored: dict[str, bytes] = {}
        self._listed = False

    def enter(self, uploads: Sequence[Upload]) -> None:
        """Take down what was accepted."""
        for upload in uploads:
            reply = upload.reply
            if reply is not None and reply.job_id is not None and not _unsure(reply):
                self.accepted[reply.job_id] = upload.picture
        if self._listed or not any(_unsure(upload.reply) for upload in uploads):
            return
        # They may have been accepted all the same: the bucket knows.
        self._listed = True
        names = {upload.picture.name: upload.picture for upload in uploads}
        for key in self._inputs.keys():  # noqa: SIM118 - not a mapping's
            job_id, _, name = key.partition("/")
            if name in names:
                self.accepted.setdefault(job_id, names[name])

    def settled(self) -> bool:
        """Whether every accepted job has its result."""
        for job_id in self.accepted.keys() - self.results.keys():
            try:
                reply = self._jobs.job(job_id)
            except OSError:
                return False
            if not (reply.status == 200 and reply.final):
                return False
            self.results[job_id] = reply.said
            self._stored[job_id] = self._outputs.get_tagged(keys.output_key(job_id))[0]
        return True

    def lost(self) -> list[str]:
        """Accepted, and without a result."""
        return [f"{job_id} ({self.accepted[job_id].name}) was accepted and has no result"
                for job_id in sorted(self.accepted.keys() - self.results.keys())]

    def duplicated(self, uploads: Sequence[Upload]) -> list[str]:
        """Two jobs of one upload; a result that is not the one first seen, or that was told."""
        found, by_name = [], dict[str, str]()
        for job_id, picture in self.accepted.items():
            if by_name.setdefault(picture.name, job_id) != job_id:
                found.append(f"{picture.name} became two jobs, {by_name[picture.name]} and {job_id}")
        for job_id, before in self._stored.items():
            if self._now(job_id) != before:
                found.append(f"the result of {job_id} has changed")
        for upload in uploads:
            reply = upload.reply
            if reply is None or reply.job_id not in self.results or not reply.final:
                continue
            told, stored = _answer(reply.said), _answer(self.results[reply.job_id])
            if told != stored:
                found.append(f"{upload.picture.name} was told {told}, stored is {stored}")
        return found

    def _now(self, job_id: str) -> bytes | None:
        try:
            return self._outputs.get_tagged(keys.output_key(job_id))[0]
        except errors.NotFound:
            return None

    def wrong(self) -> list[str]:
        """Results that are not the answer to their image."""
        found = []
        for job_id, said in self.results.items():
            picture = self.accepted[job_id]
            if said.get("status") != ("done" if picture.good else "failed"):
                kind = "a good" if picture.good else "a broken"
                found.append(f"{job_id} ({picture.name}), {kind} image, is {said.get('status')}: "
                             f"{said.get('error')}")
            elif picture.good and (said.get("input") or {}).get("sha256") != picture.sha256:
                found.append(f"{job_id} ({picture.name}) has the answer to another image")
        return found


def _unsure(reply: Reply | None) -> bool:
    """Whether it is none, or says that storage or queue cannot be reached, which has an id as well."""
    return reply is None or (reply.status == 503 and reply.job_id is not None)


def _answer(said: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must be the same wherever a result is told: an announcement has fewer predictions."""
    error = said.get("error")
    return (said.get("status"), said.get("label"), error.get("code") if isinstance(error, dict) else error)


def refused(uploads: Sequence[Upload]) -> list[str]:
    """Good images that were refused for good, and for no reason that passes."""
    return [f"{upload.picture.name} was refused with {reply.status}: "
            f"{reply.said.get('detail') or reply.said.get('title') or dict(reply.said)}"
            for upload in uploads if (reply := upload.reply) is not None and upload.picture.good
            and reply.status not in PASSING and not reply.final]


def unanswered(uploads: Sequence[Upload]) -> list[str]:
    """Requests that ended without an answer."""
    return [f"{upload.picture.name} had no answer: {upload.error}"
            for upload in uploads if upload.reply is None]


