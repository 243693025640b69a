"""The service under test: real processes, each tier behind a proxy of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from irs.aws import provision
from irs.settings import Settings
from irs.testing.proxy import Proxy
from tests.conftest import Cloud
from tests.faults.harness.ledger import Ledger
from tests.processes import Process, Web, Worker, environment, until

if TYPE_CHECKING:
    from tests.faults.harness.hosts import Hosts

T = TypeVar("T")
#: Knobs that keep a fault short; what they scale (polls, windows, waits) stays in proportion.
SHORT: dict[str, Any] = {
    "poll_wait": 2, "visibility_timeout": 10, "client_wait": 20, "engine_threads": 1,
    "drain_grace": 10.0,
    # Some faults send one image over and over, and each is to strike.
    "reuse": "off",
}
#: Seconds that a stopped tier may take.
STOP = 40.0


class Stack:
    """Web tiers and workers on buckets and queues of their own; a context manager.

    `settings` speak to the endpoint itself: what the harness looks at is never disturbed.
    """

    def __init__(self, cloud: Cloud, model_dir: Path, directory: Path, *, seed: int = 0,
                 **overrides: Any) -> None:
        self.settings: Settings = cloud.fresh(model_dir=model_dir, **SHORT | overrides)
        self.directory = directory
        self.ledger = Ledger(self.settings)
        self.webs: list[Web] = []
        self.workers: list[Worker] = []
        #: other processes that a fault's own tiers need (a scaler); stopped in the end too
        self.others: list[Process] = []
        #: pids that a fault ended, or let end, on purpose
        self.ended: set[int] = set()
        #: instances and scalers, where a fault's `prepare` has started them
        self.hosts: Hosts | None = None
        self._seed = seed
        self._proxies: dict[str, Proxy] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Stack:
        provision.ensure(self.settings)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                 trace: TracebackType | None) -> None:
        for proxy in self._proxies.values():
            proxy.clear()
        self._stack.close()

    # -- tiers ---------------------------------------------------------------------------
    def proxy(self, tier: str) -> Proxy:
        """The proxy of ``web``, ``worker``, or any other name; started at first use."""
        if tier not in self._proxies:
            assert self.settings.aws_endpoint_url is not None
            proxy = Proxy(self.settings.aws_endpoint_url, seed=self._seed + len(self._proxies),
                          heard=self.ledger.hear)
            self._proxies[tier] = self._stack.enter_context(proxy)
        return self._proxies[tier]

    def behind(self, tier: str, **overrides: Any) -> Settings:
        """The settings of a process of ``tier``."""
        return self.settings.model_copy(
            update={"aws_endpoint_url": self.proxy(tier).endpoint, **overrides})

    def environment(self, tier: str, **more: str) -> dict[str, str]:
        """The environment of a process of ``tier``."""
        return environment(self.behind(tier), **more)

    def start(self, *, webs: int = 1, workers: int = 1) -> None:
        """That many of each, ready."""
        for _ in range(webs):
            self.start_web(wait=False)
        for _ in range(workers):
            self.start_worker(wait=False)
        for tier in (*self.webs, *self.workers):
            until(tier.ready, what=f"{type(tier).__name__} ready")

    def start_web(self, *, tier: str = "web", wait: bool = True,
                  env: Mapping[str, str] | None = None, **overrides: Any) -> Web:
        """One more web tier; ``env`` is added to its environment."""
        web = Web(self.behind(tier, **overrides), self.directory, **(env or {}))
        return self._joined(self.webs, self._owned(web), wait)

    def start_worker(self, *, tier: str = "worker", wait: bool = True,
                     env: Mapping[str, str] | None = None, **overrides: Any) -> Worker:
        """One more worker; ``env`` is added to its environment."""
        worker = Worker(self.behind(tier, **overrides), self.directory, **(env or {}))
        return self._joined(self.workers, self._owned(worker), wait)

    def adopt(self, process: Process) -> None:
        """Watch, and stop in the end, a process that a fault has started."""
        self.others.append(self._owned(process))

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter ``context``; it is left when the stack ends, before what was there already."""
        return self._stack.enter_context(context)

    def end(self, process: Process, number: int) -> None:
        """Send signal ``number``, which ends ``process`` on purpose; take it out of the tiers."""
        self.ended.add(process.pid)
        process.popen.send_signal(number)
        for tier in (self.webs, self.workers, self.others):
            if process in tier:
                tier.remove(process)  # type: ignore[arg-type]

    @property
    def processes(self) -> list[Process]:
        """All that should be alive."""
        return [*self.webs, *self.workers, *self.others]

    def web_of(self, number: int) -> Web:
        """The web tier of the n-th client."""
        return self.webs[number % len(self.webs)]

    @staticmethod
    def _joined(tier: list[Any], process: Any, wait: bool) -> Any:
        # No client is sent to a web tier that does not listen yet.
        if wait:
            until(process.ready, what=f"{type(process).__name__} ready")
        tier.append(process)
        return process

    def _owned(self, process: Any) -> Any:
        self._stack.callback(process.stop, STOP)
        return process
