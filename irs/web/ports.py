"""What the web tier wants of the cloud; `irs.web.cloud.Cloud` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from irs.aws.objects import Entry
from irs.domain.jobs import Result


class ObjectStore(Protocol):
    """The input bucket: `irs.aws.objects.Objects`, as far as the web tier uses it."""

    def put(self, key: str, data: bytes, *, content_type: str = ...,
            metadata: Mapping[str, str] | None = ..., create: bool = ...) -> str: ...
    def get(self, key: str, *, max_bytes: int | None = ...) -> bytes: ...
    def delete(self, key: str) -> None: ...
    def metadata(self, key: str) -> dict[str, str]: ...
    def entries(self, prefix: str = ...) -> Iterator[Entry]: ...
    def keys(self, prefix: str = ...) -> Iterator[str]: ...


class Sign(Protocol):
    """`irs.aws.presign.put_url` for the input bucket."""

    def __call__(self, key: str, *, size: int, content_type: str, seconds: int) -> str: ...


class Results(Protocol):
    """The output bucket: `irs.results.store.ResultStore`, as far as the web tier uses it."""

    def read(self, job_id: str) -> Result | None: ...
    def write(self, result: Result) -> Result: ...
    def withdraw(self, job_id: str) -> Result | None: ...


class Waiter(Protocol):
    """One wait for one job: `irs.results.waiters.Waiter`."""

    result: Result | None

    def wait(self, timeout: float) -> Result | None: ...
    def resolve(self, result: Result) -> None: ...
    def close(self) -> None: ...


class Announcements(Protocol):
    """Hears results: `irs.results.listener.Listener`."""

    address: str
    last_success: float
    last_result: float

    def start(self) -> None: ...
    def close(self) -> None: ...
    def expect(self, job_id: str) -> Waiter: ...
