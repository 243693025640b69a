"""The client that awaits: asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from irs.client import shell
from irs.client.errors import ClientError
from irs.client.images import Body, Image
from irs.client.reading import Reading
from irs.client.records import Batch, Job, Member, Outcome
from irs.client.repeats import Flow, Pause
from irs.client.shell import AHEAD, PARALLEL, RETRIES, TIMEOUT, URL, WAIT, Shell, unseen
from irs.client.window import Window
from irs.client.wire import Answer, Request
from irs.domain.jobs import Result

T = TypeVar("T")


class AsyncClient(Shell):
    """What `irs.client.Client` is, for asyncio: the same arguments, methods, errors and records."""

    def __init__(self, url: str = URL, *, api_key: str | None = None, timeout: float = TIMEOUT,
                 retries: int = RETRIES, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(url, api_key=api_key, timeout=timeout, retries=retries)
        self._http = httpx.AsyncClient(**self._options, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    # -- images --------------------------------------------------------------------------
    async def classify(self, image: Image, *, name: str | None = None, wait: float = WAIT) -> Result:
        """The label of an image: see `irs.client.Client.classify`."""
        return await self._run(self._flows.classify(image, name=name, wait=wait))

    async def submit(self, image: Image, *, name: str | None = None) -> Job:
        """Send an image and do not wait."""
        return await self._run(self._flows.submit(image, name=name))

    async def wait(self, job_id: str, timeout: float = WAIT) -> Result:
        """The label of an image that was sent; raises as `classify` does."""
        return await self._run(self._flows.wait(job_id, timeout=timeout))

    async def get(self, job_id: str) -> Job:
        """A job as it stands now; raises `errors.NotFound`."""
        return await self._run(self._flows.get(job_id))

    async def cancel(self, job_id: str) -> Result:
        """End a job that has not started; its result's status says whether it was in time."""
        return await self._run(self._flows.cancel(job_id))

    async def classify_many(self, images: Iterable[Image], *, parallel: int = PARALLEL,
                            wait: float = WAIT, ordered: bool = True) -> AsyncIterator[Outcome]:
        """An outcome for each image: in the order given, or as they come.

        ``images`` is read as the work goes on, a little ahead, so that it may be endless.
        Leaving the loop early cancels what is on its way.
        """
        window = Window(parallel=parallel, ahead=parallel * AHEAD, ordered=ordered)
        flying: set[asyncio.Task[None]] = set()

        async def work(number: int, image: Image) -> None:
            window.put(number, await self._outcome(image, wait))

        async def following() -> Outcome | None:
            """The next outcome; None where another image may be sent first."""
            while (outcome := window.pop()) is None and not window.room:
                done, _ = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises a bug of ours, in the caller
                flying.difference_update(done)  # after it: the others' bugs are gathered below
            return outcome

        try:
            for image in images:
                while (outcome := await following()) is not None:
                    yield outcome
                flying.add(asyncio.create_task(work(window.take(), image)))
            window.close()
            while not window.empty:
                if (outcome := await following()) is not None:
                    yield outcome
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    # -- batches -------------------------------------------------------------------------
    async def batch(self, images: str | Path | Sequence[Image]) -> Batch:
        """Send many images as one piece of work: see `irs.client.Client.batch`."""
        return await self._run(self._flows.batch(images))

    async def get_batch(self, batch_id: str) -> Batch:
        """A batch as it stands now; raises `errors.NotFound`."""
        return await self._run(self._flows.get_batch(batch_id))

    async def wait_batch(self, batch_id: str, timeout: float | None = None, *,
                         on_look: Callable[[Batch], object] = unseen) -> Batch:
        """Wait until nothing of a batch will change any more; raises `errors.TimedOut`."""
        return await self._run(self._flows.wait_batch(batch_id, timeout=timeout, on_look=on_look))

    async def cancel_batch(self, batch_id: str) -> Batch:
        """End what of a batch has not started."""
        return await self._run(self._flows.cancel_batch(batch_id))

    async def results(self, batch_id: str, *, status: str | None = None,
                      start: int = 0) -> AsyncIterator[Member]:
        """A batch's images with their results so far, one by one as they arrive.

        Only those of a ``status`` (queued, done, failed, cancelled), only from number
        ``start`` on. Goes on where a connection breaks.
        """
        reading = Reading(batch_id, start)
        while True:
            async with contextlib.AsyncExitStack() as stack:
                opened: list[httpx.Response] = []
                await self._run(self._flows.results(batch_id, status=status, start=reading.start),
                                functools.partial(self._open, stack=stack, opened=opened))
                try:
                    async for data in opened[-1].aiter_bytes():
                        for member in reading.feed(data):
                            yield member
                    if reading.whole():
                        return
                    reading.broke("the results broke off")
                except httpx.HTTPError as exc:
                    reading.broke(self._silence(exc).why)

    # -- the service ---------------------------------------------------------------------
    async def stats(self) -> Mapping[str, Any]:
        """Queue, fleet, throughput, waiting clients and cost, as docs/http-api.md has them."""
        return await self._run(self._flows.told("/v1/stats"))

    async def history(self, minutes: int | None = None) -> Mapping[str, Any]:
        """The last minutes one by one, and the scaler's decisions, as docs/http-api.md has them."""
        asked = f"?minutes={minutes}" if minutes else ""
        return await self._run(self._flows.told(f"/v1/stats/history{asked}"))

    async def dead_letters(self, limit: int = 50) -> Mapping[str, Any]:
        """The newest dead letters, for operators; raises `errors.Unauthorized`."""
        return await self._run(self._flows.told(f"/v1/dead-letters?limit={limit}"))

    async def ready(self) -> str:
        """What a service says that is ready; raises `errors.Overloaded` with the reason where it is not."""
        return await self._run(self._flows.health("/readyz"))

    async def alive(self) -> str:
        """What a service says that lives, whatever its load; tried once."""
        return await self._run(self._flows.health("/healthz"))

    # -- running flows -------------------------------------------------------------------
    async def _run(self, flow: Flow[T],
                   send: Callable[[Request], Awaitable[Answer]] | None = None) -> T:
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
                    await asyncio.sleep(step.seconds)
                else:
                    answer = await (send or self._send)(step)

    async def _send(self, request: Request) -> Answer:
        async with contextlib.AsyncExitStack() as stack:
            return await self._open(request, stack=stack)

    async def _open(self, request: Request, *, stack: contextlib.AsyncExitStack,
                    opened: list[httpx.Response] | None = None) -> Answer:
        """The answer; its body is left unread in ``opened`` where that is wanted and it is a 200."""
        chunks = _chunks(request.body) if request.body is not None else None
        try:
            response = await self._http.send(
                self._http.build_request(**self._arguments(request, chunks)), stream=True)
            stack.push_async_callback(response.aclose)
            if opened is not None and response.status_code == 200:
                opened.append(response)
                return shell.reply(response.status_code, response.headers, b"")
            return shell.reply(response.status_code, response.headers, await response.aread())
        except httpx.HTTPError as exc:
            return self._silence(exc)

    async def _outcome(self, image: Image, wait: float) -> Outcome:
        try:
            return Outcome(image=image, result=await self.classify(image, wait=wait))
        except ClientError as exc:
            return Outcome(image=image, error=exc)


async def _chunks(body: Body) -> AsyncIterator[bytes]:
    """A body's pieces, read in a thread: a slow disk must not hold up the event loop."""
    pieces = body.chunks()
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
