"""The models of one worker: the fleet's, and where the settings say so one on trial beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from irs import errors, log
from irs.domain import canary
from irs.domain.jobs import ModelInfo
from irs.model import engine as engines
from irs.model import weights
from irs.model.batcher import Batcher
from irs.model.engine import Engine
from irs.settings import Settings

_log = log.get("worker")


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A model at work."""

    engine: Engine
    batcher: Batcher
    #: what its results say
    info: ModelInfo


class Models:
    """Thread-safe. ``on_batch(images, seconds)`` is told of each call of either engine."""

    def __init__(self, settings: Settings, engine: Engine, trial: Engine | None = None, *,
                 on_batch: Callable[[int, float], None] | None = None) -> None:
        def serve(chosen: Engine, info: ModelInfo) -> Served:
            batcher = Batcher(chosen, max_batch=settings.max_batch, on_batch=on_batch)
            batcher.start()
            return Served(engine=chosen, batcher=batcher, info=info)

        self._share = settings.canary_share
        self._fleet = serve(engine, engine.info)
        self._trial = serve(trial, replace(trial.info, canary=True)) if trial else None
        self._all = [self._fleet, *([self._trial] if self._trial else [])]

    @property
    def infos(self) -> list[ModelInfo]:
        """What the results may say."""
        return [served.info for served in self._all]

    @property
    def depth(self) -> int:
        """Images that wait for an engine."""
        return sum(served.batcher.depth for served in self._all)

    @property
    def failures(self) -> int:
        """Calls of the engines that failed."""
        return sum(served.batcher.counts.failures for served in self._all)

    def choose(self, job_id: str, attempt: int) -> Served:
        """The model that classifies this job now; ``attempt`` counts from 1."""
        if self._trial and canary.takes(job_id, share=self._share, attempt=attempt):
            return self._trial
        return self._fleet

    def close(self) -> None:
        """Finish what is in the engines."""
        for served in self._all:
            served.batcher.close()


def trial(settings: Settings, fetch: weights.Fetch) -> Engine | None:
    """The engine of the canary; None where there is none, or none that can be loaded.

    A model on trial must cost nobody an answer: without it the worker serves all images
    with the fleet's.
    """
    if settings.canary_model is None or not settings.canary_share:
        return None
    try:
        with engines.named(engines.CANARY):
            return engines.load(settings.for_canary(), fetch)
    except errors.IRSError as exc:
        _log.error("model.canary_refused", model=settings.canary_model, why=str(exc))
        return None
