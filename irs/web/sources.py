"""Images that are in S3 already, by their address; from allowed buckets only.

An image is fetched when it is read, which the dispatcher does where whole files' memory is
bounded, and goes from there the way of an upload: what a job stands on is the copy in the
input bucket, whatever becomes of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from irs import errors, log
from irs.domain import keys, locations
from irs.domain.locations import Location
from irs.settings import Settings

_log = log.get("web")


class Bucket(Protocol):
    """A bucket of others: `irs.aws.foreign.Foreign`."""

    def get(self, key: str, *, max_bytes: int, version: str | None = ...) -> bytes: ...
    def keys(self, prefix: str, after: str, count: int) -> list[str]: ...


class Sourced:
    """An image at an address, to be read once."""

    #: of the job that it becomes: a new one
    id: str | None = None
    callback_url: str | None = None

    def __init__(self, bucket: Bucket, location: Location, *, name: str, limit: int,
                 version: str | None = None) -> None:
        #: display name
        self.name = name
        self._bucket = bucket
        self._location = location
        self._version = version
        self._limit = limit

    def release(self) -> None:
        """Nothing of it is held."""

    def read(self) -> bytes:
        """The whole object.

        Raises `errors.NoSuchObject`, `errors.ObjectDenied`, `errors.TooLarge`, and
        `errors.CloudError` for what may pass.
        """
        try:
            return self._bucket.get(self._location.key, max_bytes=self._limit, version=self._version)
        except errors.NotFound as exc:
            _log.info("source.not_found", bucket=self._location.bucket, code=exc.code)
            raise errors.NoSuchObject("there is no such object") from exc
        except errors.Permanent as exc:
            # The bucket is allowed by us and the object not by S3: a policy, a key of KMS, an archive.
            _log.warning("source.denied", bucket=self._location.bucket, why=str(exc), code=exc.code)
            raise errors.ObjectDenied("S3 does not let the service read this object") from exc


class Sources:
    """The buckets of ``IRS_SOURCE_BUCKETS``; ``bucket`` gives the port of one by its name."""

    def __init__(self, settings: Settings, bucket: Callable[[str], Bucket]) -> None:
        self._allowed = frozenset(settings.source_buckets)
        self._limit = settings.max_image_bytes
        self._bucket = bucket

    def check(self, bucket: str) -> None:
        """Raise `errors.BucketNotAllowed`, whether there is such a bucket or not."""
        if bucket not in self._allowed:
            raise errors.BucketNotAllowed(
                "images are not read from this bucket; IRS_SOURCE_BUCKETS names those that are")

    def at(self, text: object, name: str | None = None) -> Sourced:
        """The image at ``s3://bucket/key``; its name is the key's last part, or ``name``.

        Nothing is asked of S3 yet. Raises `errors.BadRequest` and `errors.BucketNotAllowed`.
        """
        try:
            location = locations.parse(text)
        except ValueError as exc:
            raise errors.BadRequest(str(exc)) from None
        return self.image(location, name=name)

    def image(self, location: Location, *, name: str | None = None,
              version: str | None = None) -> Sourced:
        """The same for a location that has been parsed, and for one ``version`` of the object."""
        self.check(location.bucket)
        return Sourced(self._bucket(location.bucket), location, limit=self._limit, version=version,
                       name=keys.display_name(location.name if name is None else name))

    def below(self, text: str, after: str, count: int) -> list[str]:
        """Up to ``count`` keys that begin as ``s3://bucket/prefix`` says, and come after ``after``.

        Raises `errors.BadRequest`, `errors.BucketNotAllowed`, `errors.NoSuchObject`,
        `errors.ObjectDenied`, and `errors.CloudError` for what may pass.
        """
        bucket, _, prefix = text.removeprefix(locations.SCHEME).partition("/")
        if not text.startswith(locations.SCHEME) or not bucket:
            raise errors.BadRequest("an address looks like s3://bucket/prefix/")
        self.check(bucket)
        try:
            locations.check_key(prefix)
        except ValueError as exc:
            raise errors.BadRequest(str(exc)) from None
        try:
            return self._bucket(bucket).keys(prefix, after, count)
        except errors.NotFound as exc:
            _log.info("source.not_found", bucket=bucket, code=exc.code)
            raise errors.NoSuchObject("there is no such bucket") from exc
        except errors.Permanent as exc:
            _log.warning("source.denied", bucket=bucket, why=str(exc), code=exc.code)
            raise errors.ObjectDenied("S3 does not let the service list this bucket") from exc
