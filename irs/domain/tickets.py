"""What is agreed on an image before the client puts it into S3 itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from irs.domain import keys
from irs.domain.jobs import stamp


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """One direct upload."""

    #: the upload's, and then the job's
    id: str
    #: display name
    name: str
    #: bytes that will come
    size: int
    #: media type that they will come with
    content_type: str
    #: when the address to send them to ends
    expires: datetime

    @property
    def key(self) -> str:
        """Where the bytes will be."""
        return keys.staged_key(self.id, self.name)

    def to_json(self) -> bytes:
        """As it is stored."""
        return json.dumps({"id": self.id, "name": self.name, "size": self.size,
                           "content_type": self.content_type, "expires": stamp(self.expires)}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Ticket:
        """The opposite; raises `ValueError`."""
        try:
            found = json.loads(data)
            return cls(id=keys.parse_id(found["id"]), name=keys.display_name(found["name"]),
                       size=int(found["size"]), content_type=str(found["content_type"]),
                       expires=datetime.fromisoformat(found["expires"]))
        except (KeyError, TypeError) as exc:
            raise ValueError(f"no ticket: {exc!r}") from None
