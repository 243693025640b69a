"""How large a request may be."""

from __future__ import annotations

from irs.settings import Settings
from irs.web import multipart

#: Bytes of one part's headers and boundary, counted towards a request's limit.
PART = 4_096
#: Bytes of a whole request where its files' own limits would allow more: a hundred
#: photographs of 2.5 MB, and still a body that one process can hold on its disk.
REQUEST = 256_000_000


def request_limit(settings: Settings) -> int:
    """Bytes of the largest request body that is read.

    It has room for one file over its limit, which is then refused by name.
    """
    one = settings.max_image_bytes + multipart.MAX_HEADERS + PART
    return min((settings.max_image_bytes + PART) * settings.max_files + one, max(REQUEST, 2 * one))


def batch_limit(settings: Settings) -> int:
    """The same for a request that brings a batch."""
    return settings.max_batch_bytes
