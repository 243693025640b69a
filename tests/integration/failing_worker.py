"""A worker that breaks on the first image it opens, in a way that nobody foresaw."""

from __future__ import annotations

import sys
from typing import Any

import worker_entry
from irs.domain import images

_decode = images.decode
_broken = [True]


def decode(*args: Any, **kwargs: Any) -> Any:
    if _broken:
        _broken.clear()
        raise RuntimeError("a decoder\nbreaks \x1b[31m")
    return _decode(*args, **kwargs)


images.decode = decode
sys.exit(worker_entry.main())
