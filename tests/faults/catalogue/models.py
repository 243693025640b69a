"""Models that are not what they were when they were exported."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness.stack import Stack
from tests.processes import Worker, until

#: Seconds for one export on a busy machine, and for a refusal.
EXPORT, REFUSAL = 120.0, 40.0


def _graph(directory: Path) -> Path:
    (found,) = directory.glob("*.onnx")
    return found


def _truncate(directory: Path) -> None:
    graph = _graph(directory)
    graph.write_bytes(graph.read_bytes()[:-4096])


def _flip(directory: Path) -> None:
    graph = _graph(directory)
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)


def _remove(directory: Path) -> None:
    _graph(directory).unlink()


@dataclass(frozen=True, kw_only=True, eq=False)
class DamagedExport(Fault):
    """A worker finds its exported model damaged: it exports it anew, from checked weights."""

    number: int = 19
    damage: Callable[[Path], None]

    def inject(self, stack: Stack) -> Active:
        return _Damaged(stack, self.damage).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Damaged)
        return active.judge()


class _Damaged:
    """A copy of the model's directory, so that no other test meets it."""

    def __init__(self, stack: Stack, damage: Callable[[Path], None]) -> None:
        self._stack = stack
        self._damage = damage
        self._worker: Worker | None = None
        self.fired = 0

    def begin(self) -> Self:
        stack = self._stack
        directory = _copy(stack, f"damaged-{len(stack.ended)}-{time.monotonic_ns()}")
        self._damage(directory)
        self._worker = stack.start_worker(tier="damaged", wait=False, model_dir=directory)
        until(lambda: "model.exporting" in self._worker.output, REFUSAL, "an export made anew")
        self.fired = 1
        return self

    def clear(self) -> None:
        """The mended worker is the only one from now on: what is answered, it answers."""
        assert self._worker is not None
        until(self._worker.ready, EXPORT, "worker ready")
        for worker in [one for one in self._stack.workers if one is not self._worker]:
            self._stack.end(worker, signal.SIGTERM)

    def judge(self) -> list[str]:
        """It ends as any other does; the next fault finds workers behind the proxy it knows."""
        assert self._worker is not None
        self._stack.start_worker()
        self._stack.end(self._worker, signal.SIGTERM)
        code = self._worker.stop()
        return [f"P5: the mended worker ended with {code}"] if code else []


def _copy(stack: Stack, name: str) -> Path:
    target = stack.directory / name
    shutil.copytree(stack.settings.model_dir, target)
    return target


@dataclass(frozen=True, kw_only=True, eq=False)
class BadWeights(Fault):
    """Workers whose weights are absent, cut short, or not what they must be refuse to start."""

    number: int = 19

    def inject(self, stack: Stack) -> Active:
        return _Refusing(stack).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Refusing)
        return active.broken


class _Refusing:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.broken: list[str] = []
        self.fired = 0

    def begin(self) -> Self:
        cut, other = self._stack.directory / "cut.pth", self._stack.directory / "other.pth"
        cut.write_bytes(b"PK\x03\x04" + bytes(10_000))
        other.write_bytes(b"not weights at all")
        cases: dict[str, dict[str, Any]] = {
            "absent": {"model_weights": str(self._stack.directory / "absent.pth")},
            "truncated": {"model_weights": str(cut)},
            "foreign": {"model_weights": str(other)},
            "of another digest": {"model_weights": str(cut), "model_sha256": "0" * 64},
        }
        for name, overrides in cases.items():
            self._try(name, overrides)
        return self

    def _try(self, name: str, overrides: dict[str, Any]) -> None:
        # Not one of the stack's: it is to end.
        worker = Worker(self._stack.behind("refusing", **overrides), self._stack.directory)
        code = until(lambda: worker.popen.poll() is not None and str(worker.popen.returncode), EXPORT,
                     f"the end of a worker with weights {name}")
        self.fired += 1
        lines = [line for line in worker.output.splitlines() if line.startswith("irs: ")]
        if code != "2" or len(lines) != 1 or "Traceback" in worker.output:
            self.broken.append(f"P5: with weights {name} a worker ended with {code}:\n{worker.output}")

    def clear(self) -> None:
        """They have ended; the stack's own workers were there all the time."""


FAULTS: tuple[Fault, ...] = (
    DamagedExport(name="export-truncated", damage=_truncate, seconds=4.0),
    DamagedExport(name="export-bit-flipped", damage=_flip, seconds=4.0, pairs=False),
    DamagedExport(name="export-absent", damage=_remove, seconds=4.0, pairs=False),
    BadWeights(name="weights-unusable", least=4, seconds=4.0, pairs=False),
)
