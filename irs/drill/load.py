"""A small steady load, and what became of each upload."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from irs.drill import pictures
from irs.drill.client import Client, Reply
from irs.drill.pictures import Picture


@dataclass(kw_only=True, slots=True)
class Upload:
    """One request; written by its own thread, read when that has ended."""

    picture: Picture
    #: `time.monotonic`
    began: float
    ended: float | None = None
    #: None: no answer came
    reply: Reply | None = None
    #: why
    error: str = ""


class Load:
    """Uploads ``rate`` images a second from `start` to `stop`, whatever becomes of them.

    ``token`` begins each image's name; ``wait`` is how long a client waits for its result.
    """

    def __init__(self, client: Client, *, token: str, rate: float, wait: float, seed: int) -> None:
        self._client = client
        self._token = token
        self._rate = rate
        self._wait = wait
        self._random = random.Random(seed)  # noqa: S311 - test images
        self._lock = threading.Lock()
        self._uploads: list[Upload] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drill-load", daemon=True)

    @property
    def uploads(self) -> list[Upload]:
        """All so far, in the order of their beginning."""
        with self._lock:
            return list(self._uploads)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No more uploads; returns when the last one has its answer or has given up."""
        self._stop.set()
        self._thread.join()
        for thread in self._threads:
            thread.join()

    def submit(self, *, good: bool = True, wait: float | None = None) -> Upload:
        """One upload now, in the caller's thread."""
        upload = self._next(good)
        self._send(upload, self._wait if wait is None else wait)
        return upload

    def in_background(self, *, good: bool = True) -> None:
        """One upload in a thread of its own, which `stop` waits for."""
        upload = self._next(good)
        thread = threading.Thread(target=self._send, args=(upload, self._wait),
                                  name=upload.picture.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _next(self, good: bool) -> Upload:
        with self._lock:
            name = f"{self._token}-{len(self._uploads)}.png"
            picture = pictures.draw(name, self._random.getrandbits(64), good=good)
            upload = Upload(picture=picture, began=time.monotonic())
            self._uploads.append(upload)
        return upload

    def _send(self, upload: Upload, wait: float) -> None:
        try:
            upload.reply = self._client.submit(upload.picture.name, upload.picture.data, wait=wait)
        except OSError as exc:
            upload.error = str(exc) or repr(exc)
        finally:
            upload.ended = time.monotonic()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self.in_background()
            due += 1 / self._rate


def patiently(look: Callable[[], bool], seconds: float, *, every: float = 0.2) -> bool:
    """Whether ``look()`` came true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)  # between looks, not instead of them
    return True
