"""Images that clients put into S3 themselves, and that then become jobs.

The client announces an image and gets an address for its bytes in a folder of the input
bucket that nothing else reads. When it says that they are there, they are fetched, looked at
and stored like an upload's, and the job has the upload's id: saying it twice makes one job.
What nobody comes back for is left to a lifecycle rule of the bucket.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from irs import errors, log
from irs.domain import keys
from irs.domain.tickets import Ticket
from irs.settings import Settings
from irs.web.cloud import Cloud
from irs.web.ports import ObjectStore

#: Seconds that an address for the bytes is good for: a PUT must have begun by then.
EXPIRES = 900

_TYPE = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,63}|application/octet-stream")

_log = log.get("web")


class Staged:
    """An image that its client has put into S3, or says so."""

    callback_url: str | None = None

    def __init__(self, objects: ObjectStore, ticket: Ticket, *, expired: bool) -> None:
        #: the job that it becomes
        self.id: str | None = ticket.id
        #: display name
        self.name = ticket.name
        self._objects = objects
        self._ticket = ticket
        self._expired = expired

    @property
    def keys(self) -> tuple[str, str]:
        """What there is of it in the folder. The bytes go first: a ticket alone harms nobody."""
        return self._ticket.key, keys.ticket_key(self._ticket.id)

    def release(self) -> None:
        """Nothing of it is held."""

    def read(self) -> bytes:
        """The whole image; raises `errors.NotUploaded`, `errors.NoSuchUpload`, `errors.BadRequest`."""
        size = self._ticket.size
        try:
            data = self._objects.get(self._ticket.key, max_bytes=size)
        except errors.NoBucket:
            raise
        except errors.NotFound:
            if self._expired:
                raise errors.NoSuchUpload("the upload was not made in time, announce it again") from None
            raise errors.NotUploaded("the upload is not there yet, send its bytes first") from None
        if len(data) != size:  # an endpoint that does not look at what is signed
            raise errors.BadRequest(f"the upload has {len(data)} bytes, {size} were announced")
        return data


class Staging:
    """Announced uploads; one a process, shared by its threads."""

    def __init__(self, settings: Settings, cloud: Cloud,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._limit = settings.max_image_bytes
        self._cloud = cloud
        self._now = now

    def announce(self, name: str | None, size: object, content_type: str | None) -> tuple[Ticket, str]:
        """A new upload, and the address for its bytes; raises `errors.Refused`."""
        if isinstance(size, float) and size.is_integer():
            size = int(size)  # 3.0 is a whole number to JSON
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise errors.BadRequest("size is not the image's number of bytes")
        if size > self._limit:
            raise errors.TooLarge(f"file of {size} bytes; the limit is {self._limit}")
        kind = "application/octet-stream" if content_type is None else content_type.lower()
        if not _TYPE.fullmatch(kind):
            raise errors.UnsupportedFormat("content_type is not image/… or application/octet-stream")
        ticket = Ticket(id=keys.new_id(), name=keys.display_name(name), size=size, content_type=kind,
                        expires=self._now() + timedelta(seconds=EXPIRES))
        url = self._cloud.sign(ticket.key, size=size, content_type=kind, seconds=EXPIRES)
        self._cloud.objects.put(keys.ticket_key(ticket.id), ticket.to_json(),
                                content_type="application/json")
        return ticket, url

    def find(self, upload_id: str) -> Staged:
        """The upload that was announced as ``upload_id``; raises `errors.NoSuchUpload`."""
        try:
            ticket = Ticket.from_json(self._cloud.objects.get(keys.ticket_key(upload_id)))
        except errors.NoBucket:
            raise
        except (errors.NotFound, ValueError):
            raise errors.NoSuchUpload("no such upload, announce it again") from None
        return Staged(self._cloud.objects, ticket, expired=self._now() > ticket.expires)

    def forget(self, image: Staged) -> None:
        """Remove what a job was made of; what cannot be removed now is left to the bucket's rule."""
        try:
            for key in image.keys:
                self._cloud.objects.delete(key)
        except errors.CloudError as exc:
            _log.warning("staging.left", id=image.id, why=str(exc))
