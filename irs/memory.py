"""What glibc's allocator is told, so that a process of many threads stays small.

Two of its habits cost more than they bring here. It raises its threshold for mapped blocks
to the largest one that was ever freed, up to 32 MB, and keeps blocks below it: a worker that
had met 40 large images kept 600 to 830 MB of them (`bench/decode.py`). And it makes an arena
for each thread, up to eight a core, each of which keeps its own crumbs: 15 MB in a web tier,
20 in a worker. Threads that hold the interpreter's lock seldom allocate at once.
"""

from __future__ import annotations

import contextlib
import ctypes

#: Parameters of ``mallopt`` in <malloc.h>; setting the threshold also stops it from moving.
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
#: Bytes; above a batch's arrays, below Pillow's blocks, which have 16 MB.
LARGE = 4 * 1024 * 1024
#: One for the interpreter's threads, one for those that work without its lock.
ARENAS = 2


def frugal() -> None:
    """Set both for this process; nothing where the C library has no such settings.

    Call it before the threads are started: one that has an arena keeps it.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, LARGE)
        library.mallopt(_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return what is free to the system; some milliseconds, in which nobody else allocates.

    By itself glibc returns only what is free at a heap's end.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
