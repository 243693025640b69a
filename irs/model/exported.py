"""Exported models on disk: one ONNX file, its record, and the sha256 of both.

::

    efficientnet_lite0-579344248a93.onnx     the graph
    efficientnet_lite0-579344248a93.json     name, labels, preprocess, where it came from
    efficientnet_lite0-579344248a93.sha256   `sha256sum -c` reads it; written last

What is read here was checked first; a truncated or altered file is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irs import log
from irs.domain.images import Preprocess
from irs.errors import ModelError
from irs.model import weights
from irs.settings import Settings

#: Part of each record. Raise it when the graph is built differently (normalisation,
#: input layout, …): exports of an earlier version are then made anew.
VERSION = 1

_log = log.get("model")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """One exported model; the file has been checked against its digest."""

    path: Path
    name: str
    #: hex digest of the weights it was exported from
    weights_sha256: str
    #: ``package``, ``torchvision``, or ``weights`` for ``IRS_MODEL_WEIGHTS``
    origin: str
    preprocess: Preprocess
    labels: tuple[str, ...]


def find(settings: Settings) -> Exported | None:
    """The export that ``settings`` ask for; None when it is missing, damaged or outdated.

    Reads no weights beyond a local file's digest. Raises `ModelError` when
    ``IRS_MODEL_WEIGHTS`` names a file that cannot be read.
    """
    sha256 = weights.known_digest(settings)
    if sha256 is not None:
        found = _read(_base(settings, sha256))
        return found if found and found.weights_sha256 == sha256 else None
    if settings.model_weights is not None:
        return None
    # torchvision's own weights: their digest is known once they have been downloaded.
    for record in sorted(settings.model_dir.glob(f"{settings.model}-????????????.json")):
        found = _read(record.with_suffix(""))
        if found is not None and found.name == settings.model and found.origin == "torchvision":
            return found
    return None


def save(settings: Settings, graph: bytes, record: Mapping[str, Any]) -> Path:
    """Write one export; the digests last, so that a half-written one is never taken for whole.

    ``record`` has the fields of `Exported` but the path, and whatever else is worth
    knowing. Raises `ModelError` when ``IRS_MODEL_DIR`` cannot be written.
    """
    base = _base(settings, record["weights_sha256"])
    files = [base.with_suffix(".onnx"), base.with_suffix(".json")]
    text = json.dumps({"version": VERSION, **record}, indent=1, ensure_ascii=False).encode()
    for path, data in zip(files, (graph, text), strict=True):
        with weights.replacing(path) as file:
            file.write(data)
    with weights.replacing(base.with_suffix(".sha256")) as file:
        file.write("".join(_sum_line(path) + "\n" for path in files).encode())
    return files[0]


def _base(settings: Settings, sha256: str) -> Path:
    return settings.model_dir / f"{settings.model}-{sha256[:12]}"


def _read(base: Path) -> Exported | None:
    """What is at ``base``; None, and a log line that says why, where it cannot be used."""
    sums, graph, record = (base.with_suffix(suffix) for suffix in (".sha256", ".onnx", ".json"))
    if not sums.exists():
        return None
    try:
        written = sums.read_text("utf-8").splitlines()
        altered = [path.name for path in (graph, record) if _sum_line(path) not in written]
        if not altered:
            return _parse(graph, json.loads(record.read_bytes()))
        reason = f"not what was written: {', '.join(altered)}"
    except (OSError, ValueError, KeyError, TypeError) as exc:
        reason = str(exc) or repr(exc)
    _log.warning("model.export_unusable", path=str(graph), reason=reason)
    return None


def _sum_line(path: Path) -> str:
    """As `sha256sum` writes it."""
    return f"{weights.digest(path)}  {path.name}"


def _parse(graph: Path, data: Mapping[str, Any]) -> Exported:
    if data["version"] != VERSION:
        raise ValueError(f"exported by version {data['version']}, this is {VERSION}")
    return Exported(
        path=graph, name=data["name"], weights_sha256=data["weights_sha256"], origin=data["origin"],
        preprocess=Preprocess(**data["preprocess"]), labels=tuple(data["labels"]),
    )


def require(settings: Settings) -> Exported:
    """`find`, or `ModelError`."""
    found = find(settings)
    if found is None:
        raise ModelError(f"no usable export of {settings.model} in {settings.model_dir}")
    return found
