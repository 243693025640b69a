"""What it takes to feed a batch, each as far as it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from irs.audit.uploads import BATCH, NAME
from irs.bulk.store import Batches
from irs.domain import images, keys
from irs.domain.jobs import Job, Result

#: Images that are copied at once, and are in memory whole.
FETCHES = 8


class Image(Protocol):
    """An image at an address: `irs.web.sources.Sourced`."""

    def read(self) -> bytes: ...


class Sources(Protocol):
    """Buckets of others: `irs.web.sources.Sources`."""

    def at(self, text: object) -> Image: ...
    def below(self, address: str, after: str, count: int) -> list[str]: ...


class Inputs(Protocol):
    """The input bucket: `irs.aws.objects.Objects`."""

    def put(self, key: str, data: bytes, *, content_type: str = ...,
            metadata: Mapping[str, str] | None = ...) -> str: ...
    def delete(self, key: str) -> None: ...


class Results(Protocol):
    """The results: `irs.results.store.ResultStore`."""

    def read(self, job_id: str) -> Result | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """All of them."""

    batches: Batches
    inputs: Inputs
    results: Results
    sources: Sources
    #: puts a job's task on the input queue, its result to be told to this process
    send: Callable[[Job], None]
    #: is told of each result, once or twice
    finished: Callable[[Result], None]
    #: is told of each batch that has finished, by its id
    ended: Callable[[str], None]
    limits: images.Limits
    #: bounds the images that are in memory between S3 and S3
    fetching: AbstractContextManager[object]
    #: threads for these calls
    pool: Executor


def store(inputs: Inputs, job_id: str, name: str, data: bytes, limits: images.Limits, *,
          batch_id: str) -> None:
    """Keep an image as the upload of a batch's job; raises `irs.errors.Refused` for one that is none."""
    header = images.validate(data, limits)
    inputs.put(keys.input_key(job_id, name), data, metadata={NAME: name, BATCH: batch_id},
               content_type=f"image/{header.format.lower()}")
