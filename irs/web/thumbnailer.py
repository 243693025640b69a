"""A child process that makes one thumbnail: an image on its input, a JPEG on its output.

    python -m irs.web.thumbnailer SIDE MAX_BYTES MAX_PIXELS

A dead letter may be an image that ended five workers, by its decoder or by its size. Here it
ends a child that has no credentials, no environment and limits of its own.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys

from PIL import Image

from irs import errors
from irs.domain import images
from irs.domain.images import Limits, Preprocess

#: Seconds of processor time.
PROCESSOR = 5
#: Bytes of address space: twice what `irs.domain.images` gives the largest image allowed, the
#: libraries, and the file itself.
MEMORY_PER_PIXEL, MEMORY = 15, 512_000_000
#: Exit codes: no thumbnail can be made of it; no memory now.
REFUSED, NO_MEMORY = 3, 4
#: Of JPEG, 1 to 95.
_QUALITY = 82


def thumbnail(data: bytes, limits: Limits, side: int) -> bytes:
    """The square that a model would see, ``side`` pixels wide, as a JPEG without metadata.

    Raises what `images.decode` raises.
    """
    found = images.decode(data, limits, Preprocess(resize=side, crop=side))
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), found.pixels).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def main(side: int, max_bytes: int, max_pixels: int) -> int:
    """The exit code."""
    limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels)
    memory = MEMORY + 2 * max_bytes + MEMORY_PER_PIXEL * max_pixels
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, PROCESSOR),
                       (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS bounds no address space
            resource.setrlimit(kind, (most, most))
    try:
        made = thumbnail(sys.stdin.buffer.read(max_bytes + 1), limits, side)
    except errors.Refused:
        return REFUSED
    except errors.OutOfMemory:
        return NO_MEMORY
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
