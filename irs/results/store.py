"""The result objects in the output bucket: written once, read whole."""

from __future__ import annotations

from irs import errors, log
from irs.aws.objects import Objects
from irs.domain import keys
from irs.domain.jobs import Result, Status
from irs.settings import Settings

#: Bytes; a result with five predictions is about 1 kB. A larger object is not ours.
MAX_RESULT = 1_000_000

_log = log.get("results")


class ResultStore:
    """``{id}.json`` objects; methods raise `irs.errors.CloudError`."""

    def __init__(self, settings: Settings, *, objects: Objects | None = None) -> None:
        self._objects = objects or Objects(settings, settings.output_bucket)

    def read(self, job_id: str) -> Result | None:
        """The job's result; None where there is none, or the object is not a result."""
        try:
            raw = self._objects.get(keys.output_key(job_id), max_bytes=MAX_RESULT)
        except errors.NoBucket:
            raise  # which says nothing about this result
        except errors.NotFound:
            return None
        except errors.TooLarge as exc:
            _log.warning("result.invalid", id=job_id, why=str(exc))
            return None
        try:
            result = Result.from_json(raw)
        except ValueError as exc:
            _log.warning("result.invalid", id=job_id, why=str(exc))
            return None
        if result.id != keys.parse_id(job_id):
            _log.warning("result.invalid", id=job_id, why=f"holds the result of {result.id}")
            return None
        return result

    def write(self, result: Result) -> Result:
        """Store ``result`` unless there is one; returns what is stored.

        The first writer wins (``If-None-Match: *``). An object that is there but is no
        result (half-written by something else, foreign) counts as absent and is replaced.
        """
        key = keys.output_key(result.id)
        body = result.to_json()
        try:
            self._objects.put(key, body, content_type="application/json", create=True)
            return result
        except errors.AlreadyExists:
            stored = self.read(result.id)
        if stored is not None:
            return stored
        self._objects.put(key, body, content_type="application/json")
        return result

    def withdraw(self, job_id: str) -> Result | None:
        """Remove the job's result if it is a failure, so that another can be written.

        Returns what was there: a result that is no failure stays.
        """
        found = self.read(job_id)
        if found is not None and found.status is Status.FAILED:
            self._objects.delete(keys.output_key(job_id))
        return found
