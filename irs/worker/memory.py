"""Large blocks go back to the system as soon as they are freed.

glibc raises its threshold for mapped blocks to the largest one that was ever freed, up to
32 MB, and then keeps images of that size in an arena for each thread: a worker that had met
40 large images kept 600 to 830 MB of them (`bench/decode.py`).
"""

from __future__ import annotations

import contextlib
import ctypes

#: ``M_MMAP_THRESHOLD`` of <malloc.h>; setting it also stops it from moving.
_MMAP_THRESHOLD = -3
#: Bytes; above a batch's arrays, below Pillow's blocks, which have 16 MB.
LARGE = 4 * 1024 * 1024


def give_back() -> None:
    """Set it for this process; nothing where the C library has no such setting."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE)
