"""Pillow's state that all of a process shares: it stays silent, and its pixel limit is ours.

Pillow logs, warns and prints of its own accord, and has one pixel limit for everybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import re
import threading
import warnings

from PIL import Image

_bomb_lock = threading.Lock()
_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

# Pillow logs a hostile file's oddities as errors, and at DEBUG each tag of each file.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
# libtiff prints its errors on stderr. Pillow silences its warnings only; where the library
# is linked statically its symbols are hidden, and those lines stay.
with contextlib.suppress(AttributeError, OSError):
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


def confine(max_pixels: int) -> None:
    """Have Pillow itself refuse more than so many pixels.

    Its limit, which it refuses at twice of, is not switched off, because it also guards what
    is allocated while a file is opened, before we can look: a GIF's frame, a WebP's canvas.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels // 2


def ready(max_pixels: int) -> None:
    """Keep Pillow from printing, and its own pixel limit from refusing what ours allows.

    That limit is global, so it is only ever raised: calls with other limits are not harmed,
    and ours is checked as well. Its warnings are silenced by a filter that stays, because
    `warnings.catch_warnings` swaps global state and is not safe among threads; the filter is
    put back where somebody, such as a test runner, has removed it.
    """
    if _SILENCE not in warnings.filters:
        warnings.filterwarnings("ignore", module=_SILENCE[3].pattern)
    half = (max_pixels + 1) // 2
    with _bomb_lock:
        if Image.MAX_IMAGE_PIXELS is not None and half > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = half
