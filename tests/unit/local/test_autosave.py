"""State is saved after changes, and only then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from irs.local.autosave import Autosave


class Server:
    """Plays the ASGI server: a lifespan and requests."""

    def __init__(self, fail: int = 0) -> None:
        self.saves = 0
        self.saved = asyncio.Event()
        self.fail = fail
        self.writing = False
        self.app = Autosave(self._application, self._save, interval=0.01)
        self._lifespan: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> Server:
        self._task = asyncio.create_task(
            self.app({"type": "lifespan"}, self._lifespan.get, self._answers.put))
        await self._say("startup")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._say("shutdown")
        await self._task

    async def request(self, method: str) -> None:
        await self.app({"type": "http", "method": method}, None, None)

    async def _say(self, what: str) -> None:
        await self._lifespan.put({"type": f"lifespan.{what}"})
        assert (await self._answers.get())["type"] == f"lifespan.{what}.complete"

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{what}"
                assert not self.writing, "two writers of the same files"
                await send({"type": f"lifespan.{what}.complete"})

    async def _save(self) -> None:
        self.saves += 1
        self.writing = True
        self.saved.set()
        await asyncio.sleep(0.02)
        self.writing = False
        if self.saves <= self.fail:
            raise OSError("no space left on device")


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def test_many_changes_are_one_save() -> None:
    async def scenario() -> None:
        async with Server() as server:
            for _ in range(100):
                await server.request("POST")
            await server.saved.wait()
            assert server.saves == 1
    run(scenario())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reads_save_nothing(method: str) -> None:
    async def scenario() -> None:
        async with Server() as server:
            await server.request(method)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.saved.wait(), 0.1)
    run(scenario())


def test_a_failed_save_is_tried_again_after_the_next_change() -> None:
    async def scenario() -> None:
        async with Server(fail=1) as server:
            await server.request("POST")
            await server.saved.wait()
            server.saved.clear()
            await server.request("PUT")
            await server.saved.wait()
            assert server.saves == 2
    run(scenario())


def test_a_save_under_way_ends_before_the_application_saves_for_the_last_time() -> None:
    async def scenario() -> None:
        async with Server() as server:
            await server.request("POST")
            await server.saved.wait()
            assert server.writing
    run(scenario())
