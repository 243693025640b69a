"""An export in a process of its own, whose end gives torch's memory back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import irs
from irs import log
from irs.errors import ModelError
from irs.model.export import DEADLINE
from irs.settings import Settings

#: The directory that the package `irs` is in.
_ROOT = Path(irs.__file__).absolute().parent.parent
#: The settings that decide what is exported.
_FIELDS = ("model", "model_weights", "model_sha256", "model_dir")

_log = log.get("model")


def in_subprocess(settings: Settings) -> None:
    """`irs.model.export.export` in a child process, so that this one does not import torch.

    Weights must be local: see `weights.local`. Raises `ModelError` with the child's reason.
    """
    absolute: dict[str, Any] = {"model_dir": settings.model_dir.absolute()}
    if settings.model_weights:
        absolute["model_weights"] = str(Path(settings.model_weights).absolute())
    chosen = json.loads(settings.model_copy(update=absolute).model_dump_json(include=set(_FIELDS)))
    command = [sys.executable, "-m", "irs.model.export", "--settings", json.dumps(chosen), "--child"]
    _log.info("model.exporting", model=settings.model, directory=str(settings.model_dir))
    # The pipe stays open as long as this process lives; its end tells the child to go too.
    # An instance's working directory is not where irs is; `-m` looks in the child's own.
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,  # noqa: S603  ours
                             stderr=subprocess.PIPE, cwd=_ROOT)
    with child:
        try:
            # communicate() would close the child's stdin at once.
            tail = _Tail(child.stderr)
            code = child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise ModelError(f"exporting {settings.model} took more than {DEADLINE:.0f} s") from None
        finally:
            child.kill()
        reason = tail.last_line()
    if code < 0:
        raise ModelError(f"exporting {settings.model}: killed by signal {-code}; is there enough memory?")
    if code != 0:
        raise ModelError(reason or f"exporting {settings.model} failed with code {code}")


class _Tail:
    """Reads a stream to its end in the background and keeps the last line."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._last = b""
        self._thread = threading.Thread(target=self._read, name="irs-export-stderr", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream or ():
            self._last = line.strip() or self._last

    def last_line(self) -> str:
        self._thread.join(5)
        return self._last.decode(errors="replace")
