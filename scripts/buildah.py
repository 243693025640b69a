"""buildah with a store of its own, so that nothing of this machine's images is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class Buildah:
    """Calls that end the program where they fail; images are kept below ``store``."""

    def __init__(self, store: Path) -> None:
        self.store = store
        store.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        """The command line of a call."""
        return ["buildah", "--root", str(self.store / "root"), "--runroot", str(self.store / "run"),
                "--storage-driver", "overlay", *arguments]

    def __call__(self, *arguments: str) -> str:
        """What the call says on stdout; its errors are on ours."""
        done = subprocess.run(self.command(*arguments), text=True,  # noqa: S603 - ours
                              capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stdout[-3000:]}{done.stderr[-3000:]}\n"
                     f"buildah {arguments[0]} failed with code {done.returncode}")
        return done.stdout
