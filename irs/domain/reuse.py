"""Which answers may be given again: the same bytes, asked by the same client, under the same model.

Pure: times are given, nothing is locked. docs/decisions/0015-reuse.md has the reasons.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from irs import errors
from irs.domain.jobs import Job, ModelInfo, Result, Status, stamp

#: Seconds for which a result that was heard vouches for the model that the fleet runs. So
#: long at most is a model that was replaced believed in, and so often at least is something
#: classified while all else is reused.
VOUCHED = 300.0
#: Seconds for which an answer is given again: a mended decoder is seen after as long.
KEPT = 3600.0
#: Answers in memory, and their bytes together; one with five predictions has about 800.
ENTRIES, BYTES = 10_000, 8_000_000
#: Failures whose cause is in the bytes. All others are the service's own, or a client's wish.
CONTENT = frozenset({errors.TooLarge.code, errors.UnsupportedFormat.code, errors.Undecodable.code})

#: A model's name and version; the engine does not matter, as it runs the same weights.
_Model = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What was asked: which bytes, by whom."""

    #: hex digest of the uploaded bytes
    sha256: str
    #: what the answer is filed under: the same digest, mixed with the client's name where it has one
    key: str

    @classmethod
    def of(cls, data: bytes, client: str) -> Asked:
        """``client`` is the name of its API key; empty where no keys are asked for."""
        sha256 = digest(data)
        key = hashlib.sha256(f"{client}\n{sha256}".encode()).hexdigest() if client else sha256
        return cls(sha256=sha256, key=key)


def digest(data: bytes) -> str:
    """Hex digest of an upload's bytes."""
    return hashlib.sha256(data).hexdigest()


def index_key(key: str) -> str:
    """Where a shared answer lies in the output bucket."""
    return f"reuse/{key}.json"


def reusable(result: Result, sha256: str) -> bool:
    """Whether the result is one of these bytes by a model: a label, or a fault of the bytes."""
    if result.model is None or result.model.canary or result.reused:
        return False
    if result.input is not None and result.input.sha256 != sha256:
        return False
    if result.status is Status.FAILED:
        return result.error is not None and result.error.code in CONTENT
    return result.status is Status.DONE and result.input is not None


def answer(job: Job, known: Result, now: datetime) -> Result:
    """The job's own result, made of another's: no message was received, no instance worked."""
    moment = stamp(now)
    return replace(known, id=job.id, image=job.image, attempts=0, instance="", reused=True,
                   times={"received": stamp(job.received), "started": moment, "finished": moment})


def fresh(result: Result, now: datetime) -> bool:
    """Whether the result was just made: one that is announced again is of a fleet that was.

    A worker's clock that is fast does no harm; one that is slow by minutes only costs reuse.
    """
    return _age(result.times.get("finished", ""), now) < VOUCHED


def to_index(result: Result, now: datetime) -> bytes:
    """A shared answer: the result without its image's name, and when it was heard."""
    return replace(result, image="", times={"heard": stamp(now)}).to_json()


def from_index(raw: bytes, sha256: str, now: datetime,
               model: _Model | None) -> tuple[Result, float] | None:
    """A shared answer that holds now, and its age; None for any other, and for what is none.

    ``model`` is the fleet's as far as it is known here. Where it is not, an answer that is
    young enough vouches for itself.
    """
    try:
        found = Result.from_json(raw)
    except ValueError:
        return None
    age = _age(found.times.get("heard", ""), now)
    # From the future: a clock is wrong, and nobody can tell which.
    if not reusable(found, sha256) or not -VOUCHED < age < KEPT:
        return None
    holds = age < VOUCHED if model is None else _model(found.model) == model
    return (found, age) if holds else None


def _age(moment: str, now: datetime) -> float:
    """Seconds since ``moment``; infinite for what is no time."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return float("inf")
    return (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()


def _model(info: ModelInfo | None) -> _Model | None:
    return (info.name, info.version) if info is not None else None


class Answers:
    """The answers of the model that the fleet runs now, the least wanted forgotten first.

    Bounded in entries and bytes. Seconds are those of any one clock. Not thread-safe.
    """

    def __init__(self, *, entries: int = ENTRIES, size: int = BYTES) -> None:
        self._most, self._room = entries, size
        #: key to when it was heard, and the result as JSON: a third of the objects' memory
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._model: _Model | None = None
        self._heard = float("-inf")
        #: bytes of what is kept
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def model(self, now: float) -> _Model | None:
        """The fleet's, by what was heard of late; None: nobody can tell."""
        return self._model if now - self._heard < VOUCHED else None

    def heard(self, model: ModelInfo, now: float) -> None:
        """The fleet runs this one; what another has said is forgotten."""
        if _model(model) != self._model:
            self._model = _model(model)
            self._kept.clear()
            self.size = 0
        self._heard = now

    def keep(self, key: str, result: Result, now: float) -> None:
        """File an answer of the current model; any other is dropped."""
        if _model(result.model) != self._model:
            return
        self._drop(key)
        self._kept[key] = (now, result.to_json())
        self.size += len(self._kept[key][1])
        while self._kept and (len(self._kept) > self._most or self.size > self._room):
            self._drop(next(iter(self._kept)))

    def find(self, key: str, now: float) -> Result | None:
        """The answer, where there is one that holds now."""
        since, raw = self._kept.get(key, (float("-inf"), b""))
        if not raw or self.model(now) is None:
            return None
        if now - since >= KEPT:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return Result.from_json(raw)

    def _drop(self, key: str) -> None:
        _, raw = self._kept.pop(key, (0.0, b""))
        self.size -= len(raw)
