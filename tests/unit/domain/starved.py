"""Run as a script: decode a large image of each format with little memory left; a line for each."""

from __future__ import annotations

import io
import re
import resource
from pathlib import Path

from PIL import Image

from irs import errors
from irs.domain.images import Limits, Preprocess, decode, validate

#: Bytes beyond what the process has when it begins to decode.
LITTLE = 2_000_000
#: Not GIF, which takes a third of the others' memory and may find it.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")


def _files() -> dict[str, bytes]:
    image = Image.linear_gradient("L").resize((5000, 4000)).convert("RGB")
    found = {}
    for kind in FORMATS:
        out = io.BytesIO()
        image.save(out, kind, **({"progressive": True} if kind == "JPEG" else {}))
        found[kind] = out.getvalue()
    return found


def _outcome(data: bytes) -> str:
    try:
        validate(data, Limits(max_bytes=100_000_000))
        decode(data, Limits(max_bytes=100_000_000), Preprocess())
    except errors.IRSError as exc:
        return type(exc).__name__
    return "decoded"


if __name__ == "__main__":
    files = _files()
    (size,) = re.findall(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())
    resource.setrlimit(resource.RLIMIT_AS, (int(size) * 1024 + LITTLE, resource.RLIM_INFINITY))
    starved = {kind: _outcome(data) for kind, data in files.items()}
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for kind, data in files.items():
        print(kind, starved[kind], _outcome(data))
