"""The wheel of this tree, built for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build(place: Path, **environment: str) -> Path:
    """Its path. Built of a copy in ``place``, as setuptools leaves things beside what it packs.

    No index is asked. ``environment`` is added to this process's own.
    """
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "MANIFEST.in",
                 "celeryconfig.py", "web_entry.py", "worker_entry.py"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "irs", place / "irs", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-qq", "--disable-pip-version-check", "--no-deps",
                    "--no-build-isolation", "--no-index", "--wheel-dir", str(place / "dist"), str(place)],
                   env={**os.environ, **environment}, check=True, timeout=100)
    [made] = (place / "dist").iterdir()
    return made
