"""A seeded open-loop load: clients come when they come, however slow the answers are."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable

from tests.faults.harness.history import History
from tests.faults.harness.pictures import Picture, Pictures
from tests.processes import Web, form


def upload(web: Web, picture: Picture, history: History, timeout: float) -> None:
    """One client: upload, wait for the answer, take down what came."""
    request = history.invoke(picture)
    try:
        body, kind = form((picture.name, picture.data))
        answer = web.call("POST", "/upload", body, {
            "Content-Type": kind, "Accept": "application/json"}, timeout)
        request.headers = dict(answer.headers)
        request.status = answer.status
        said = answer.json
        request.result = said["results"][0] if "results" in said else said
    except (OSError, http.client.HTTPException, ValueError, KeyError) as exc:
        request.error = repr(exc)
    finally:
        request.ended = time.monotonic()


class Load:
    """``count`` uploads over ``seconds``, at exponential intervals, to a web tier each.

    ``web(n)`` names the web tier of the n-th client at the time it comes.
    """

    def __init__(self, *, count: int, seconds: float, seed: int, web: Callable[[int], Web],
                 pictures: Pictures, history: History, timeout: float) -> None:
        self._web = web
        self._history = history
        self._timeout = timeout
        # Made beforehand: encoding must not hold back the clients of a busy machine.
        self._pictures = [pictures.next() for _ in range(count)]
        draw = random.Random(seed)
        gaps = [draw.expovariate(1.0) for _ in range(count)]
        self._gaps = [gap * seconds / sum(gaps) for gap in gaps]
        self._clients: list[threading.Thread] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the last client's end; each has its timeout."""
        self._thread.join()
        for client in self._clients:
            client.join()

    def stop(self) -> None:
        """No more clients; those that wait go on."""
        self._stop.set()

    def _run(self) -> None:
        due = time.monotonic()
        for number, (gap, picture) in enumerate(zip(self._gaps, self._pictures, strict=True)):
            due += gap
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            client = threading.Thread(target=upload, name=f"client-{number}", daemon=True, args=(
                self._web(number), picture, self._history, self._timeout))
            self._clients.append(client)
            client.start()
