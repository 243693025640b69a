"""Records out of JSON that another version may have written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def record(kind: type[T], raw: Mapping[str, Any]) -> T:
    """A dataclass of the fields that it knows; those of newer versions are left out.

    Raises what the class raises: `TypeError` where a field is missing that has no default.
    """
    fields: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: raw[name] for name in fields if name in raw})
