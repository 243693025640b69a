"""The client that waits."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from irs.client import shell
from irs.client.errors import ClientError, Unreachable
from irs.client.images import Image
from irs.client.reading import Reading
from irs.client.records import Batch, Job, Member, Outcome
from irs.client.repeats import Flow, Pause
from irs.client.shell import AHEAD, PARALLEL, RETRIES, TIMEOUT, URL, WAIT, Shell, unseen
from irs.client.window import Window
from irs.client.wire import Answer, Request
from irs.domain.jobs import Result

T = TypeVar("T")


class Client(Shell):
    """A client of the service at ``url``, for any number of threads. A context manager.

    ``timeout`` is the seconds without a byte, beyond the wait asked for, after which a
    request counts as lost; ``retries`` how often it is then repeated. ``transport`` is
    httpx's, for tests and for networks of your own. Methods raise `errors.ClientError`.
    """

    def __init__(self, url: str = URL, *, api_key: str | None = None, timeout: float = TIMEOUT,
                 retries: int = RETRIES, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(url, api_key=api_key, timeout=timeout, retries=retries)
        self._http = httpx.Client(**self._options, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # -- images --------------------------------------------------------------------------
    def classify(self, image: Image, *, name: str | None = None, wait: float = WAIT) -> Result:
        """The label of an image; raises `errors.TimedOut` after ``wait`` seconds.

        The job goes on then, and `wait` can be called for its ``id``. An image that ends
        without a label raises `errors.Refused` or, with the job's id, `errors.Failed`.
        """
        return self._run(self._flows.classify(image, name=name, wait=wait))

    def submit(self, image: Image, *, name: str | None = None) -> Job:
        """Send an image and do not wait."""
        return self._run(self._flows.submit(image, name=name))

    def wait(self, job_id: str, timeout: float = WAIT) -> Result:
        """The label of an image that was sent; raises as `classify` does."""
        return self._run(self._flows.wait(job_id, timeout=timeout))

    def get(self, job_id: str) -> Job:
        """A job as it stands now; raises `errors.NotFound`."""
        return self._run(self._flows.get(job_id))

    def cancel(self, job_id: str) -> Result:
        """End a job that has not started; its result's status says whether it was in time."""
        return self._run(self._flows.cancel(job_id))

    def classify_many(self, images: Iterable[Image], *, parallel: int = PARALLEL, wait: float = WAIT,
                      ordered: bool = True) -> Iterator[Outcome]:
        """An outcome for each image: in the order given, or as they come.

        ``images`` is read as the work goes on, a little ahead, so that it may be endless.
        Threads do the work; leaving the loop early stops them.
        """
        window = Window(parallel=parallel, ahead=parallel * AHEAD, ordered=ordered)
        changed, stop = threading.Condition(), threading.Event()
        bugs: list[Exception] = []

        def work(number: int, image: Image) -> None:
            try:
                outcome = self._outcome(image, wait, stop)
            except Exception as exc:
                outcome = Outcome(image=image)
                bugs.append(exc)  # raised in the caller's thread
            with changed:
                window.put(number, outcome)
                changed.notify()

        try:
            for image in images:
                while (outcome := _following(window, changed, bugs)) is not None:
                    yield outcome
                with changed:
                    number = window.take()
                # Daemons: Ctrl-C must not wait for answers that nobody will read.
                threading.Thread(target=work, args=(number, image), name="irs-client", daemon=True).start()
            window.close()
            while not window.empty:
                if (outcome := _following(window, changed, bugs)) is not None:
                    yield outcome
        finally:
            stop.set()

    # -- batches -------------------------------------------------------------------------
    def batch(self, images: str | Path | Sequence[Image]) -> Batch:
        """Send many images as one piece of work, and do not wait.

        Paths, bytes or open files; a ``.zip``; ``s3://bucket/prefix/``; or a list of
        ``s3://bucket/key``.
        """
        return self._run(self._flows.batch(images))

    def get_batch(self, batch_id: str) -> Batch:
        """A batch as it stands now; raises `errors.NotFound`."""
        return self._run(self._flows.get_batch(batch_id))

    def wait_batch(self, batch_id: str, timeout: float | None = None, *,
                   on_look: Callable[[Batch], object] = unseen) -> Batch:
        """Wait until nothing of a batch will change any more; raises `errors.TimedOut`."""
        return self._run(self._flows.wait_batch(batch_id, timeout=timeout, on_look=on_look))

    def cancel_batch(self, batch_id: str) -> Batch:
        """End what of a batch has not started."""
        return self._run(self._flows.cancel_batch(batch_id))

    def results(self, batch_id: str, *, status: str | None = None, start: int = 0) -> Iterator[Member]:
        """A batch's images with their results so far, one by one as they arrive.

        Only those of a ``status`` (queued, done, failed, cancelled), only from number
        ``start`` on. Goes on where a connection breaks.
        """
        reading = Reading(batch_id, start)
        while True:
            with contextlib.ExitStack() as stack:
                opened: list[httpx.Response] = []
                self._run(self._flows.results(batch_id, status=status, start=reading.start),
                          functools.partial(self._open, stack=stack, opened=opened))
                try:
                    for data in opened[-1].iter_bytes():
                        yield from reading.feed(data)
                    if reading.whole():
                        return
                    reading.broke("the results broke off")
                except httpx.HTTPError as exc:
                    reading.broke(self._silence(exc).why)

    # -- the service ---------------------------------------------------------------------
    def stats(self) -> Mapping[str, Any]:
        """Queue, fleet, throughput, waiting clients and cost, as docs/http-api.md has them."""
        return self._run(self._flows.told("/v1/stats"))

    def history(self, minutes: int | None = None) -> Mapping[str, Any]:
        """The last minutes one by one, and the scaler's decisions, as docs/http-api.md has them."""
        asked = f"?minutes={minutes}" if minutes else ""
        return self._run(self._flows.told(f"/v1/stats/history{asked}"))

    def dead_letters(self, limit: int = 50) -> Mapping[str, Any]:
        """The newest dead letters, for operators; raises `errors.Unauthorized`."""
        return self._run(self._flows.told(f"/v1/dead-letters?limit={limit}"))

    def ready(self) -> str:
        """What a service says that is ready; raises `errors.Overloaded` with the reason where it is not."""
        return self._run(self._flows.health("/readyz"))

    def alive(self) -> str:
        """What a service says that lives, whatever its load; tried once."""
        return self._run(self._flows.health("/healthz"))

    # -- running flows -------------------------------------------------------------------
    def _run(self, flow: Flow[T], send: Callable[[Request], Answer] | None = None,
             sleep: Callable[[float], object] | None = None) -> T:
        answer: Answer | None = None
        with contextlib.closing(flow):
            while True:
                try:
                    step = flow.send(answer)
                except StopIteration as end:
                    found: T = end.value
                    return found
                if isinstance(step, Pause):
                    answer = None
                    (sleep or time.sleep)(step.seconds)
                else:
                    answer = (send or self._send)(step)

    def _send(self, request: Request) -> Answer:
        with contextlib.ExitStack() as stack:
            return self._open(request, stack=stack)

    def _open(self, request: Request, *, stack: contextlib.ExitStack,
              opened: list[httpx.Response] | None = None) -> Answer:
        """The answer; its body is left unread in ``opened`` where that is wanted and it is a 200."""
        chunks = request.body.chunks() if request.body is not None else None
        try:
            response = self._http.send(
                self._http.build_request(**self._arguments(request, chunks)), stream=True)
            stack.callback(response.close)
            if opened is not None and response.status_code == 200:
                opened.append(response)
                return shell.reply(response.status_code, response.headers, b"")
            return shell.reply(response.status_code, response.headers, response.read())
        except httpx.HTTPError as exc:
            return self._silence(exc)

    def _outcome(self, image: Image, wait: float, stop: threading.Event) -> Outcome:
        def sleep(seconds: float) -> None:
            if stop.wait(seconds):
                raise Unreachable("nobody waits for it any more")

        def send(request: Request) -> Answer:
            sleep(0)
            return self._send(request)

        try:
            result = self._run(self._flows.classify(image, name=None, wait=wait), send, sleep)
            return Outcome(image=image, result=result)
        except ClientError as exc:
            return Outcome(image=image, error=exc)


def _following(window: Window, changed: threading.Condition, bugs: Sequence[Exception]) -> Outcome | None:
    """The next outcome; None where another image may be sent first. Raises the first of the bugs."""
    with changed:
        while (outcome := window.pop()) is None and not window.room:
            changed.wait()
    if bugs:
        raise bugs[0]
    return outcome
