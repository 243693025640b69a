"""Small pictures of dead letters' images, made one at a time by a child process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import irs
from irs import errors, log
from irs.settings import Settings
from irs.web import thumbnailer

#: Pixels of a side.
SIDE = 160
#: Seconds for a child, most of which would be its wait for a processor; and for a turn.
DEADLINE, TURN = 15.0, 20.0
#: Thumbnails that are remembered, 4 kB each or so.
KEPT = 256
#: The directory that the package `irs` is in.
_ROOT = Path(irs.__file__).absolute().parent.parent

_log = log.get("web")


class Thumbnails:
    """Thread-safe. One image is in memory at a time, however many ask."""

    def __init__(self, settings: Settings) -> None:
        self._limits = (settings.max_image_bytes, settings.max_image_pixels)
        self._turn = threading.Lock()
        self._made: OrderedDict[str, bytes | None] = OrderedDict()

    def of(self, job_id: str, fetch: Callable[[], bytes | None]) -> bytes | None:
        """A JPEG; None where none can be made of what ``fetch`` gives.

        Raises what ``fetch`` raises, and `errors.Overloaded` where too many wait or there is
        no memory.
        """
        if not self._turn.acquire(timeout=TURN):
            raise errors.Overloaded("too many thumbnails are being made", retry_after=5)
        try:
            if job_id in self._made:
                self._made.move_to_end(job_id)
                return self._made[job_id]
            data = fetch()
            made = self._made[job_id] = None if data is None else self._child(job_id, data)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
            return made
        finally:
            self._turn.release()

    def _child(self, job_id: str, data: bytes) -> bytes | None:
        command = [sys.executable, "-m", "irs.web.thumbnailer", *map(str, (SIDE, *self._limits))]
        try:
            done = subprocess.run(  # noqa: S603 - ours
                command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={},
                cwd=_ROOT, timeout=DEADLINE, check=False)
        except subprocess.TimeoutExpired:  # it is killed by then
            _log.warning("web.thumbnail_slow", id=job_id, seconds=DEADLINE)
            return None
        except OSError as exc:
            raise errors.Overloaded("no thumbnail can be made now", retry_after=10) from exc
        if done.returncode == thumbnailer.NO_MEMORY:
            raise errors.Overloaded("no memory for a thumbnail now", retry_after=10)
        if done.returncode not in (0, thumbnailer.REFUSED):
            # A signal is negative: the image ended this decoder too.
            _log.warning("web.thumbnail_failed", id=job_id, code=done.returncode)
        return done.stdout if done.returncode == 0 else None
