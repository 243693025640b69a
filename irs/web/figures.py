"""Numbers as people read them; ``static/figures.js`` has the same for the dashboard's script."""

from __future__ import annotations

#: What stands for a number that nobody knows.
UNKNOWN = "–"


def seconds(value: float | None) -> str:
    """``31 ms``, ``2.1 s``, ``42 s``, ``12 min``, ``3.2 h``, ``4 days``."""
    if value is None:
        return UNKNOWN
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 90:
        return f"{value:.0f} s"
    if value < 5400:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h" if value < 172_800 else f"{value / 86_400:.0f} days"


def dollars(value: float | None) -> str:
    """``$0.0312``, ``$1.25``, ``$1,250``: three digits that count."""
    if value is None:
        return UNKNOWN
    if 0 < value < 1:
        return f"${value:.4f}" if value >= 0.0001 else "< $0.0001"
    return f"${value:,.2f}" if value < 1000 else f"${value:,.0f}"


def count(value: float | None) -> str:
    """``12,300``."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def many(number: float, one: str, more: str = "") -> str:
    """``1 image``, ``2 images``."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def percent(value: float) -> str:
    """``12 %`` for 0.12, ``1.2 %``, ``< 0.1 %``."""
    if 0 < value < 0.001:
        return "< 0.1 %"
    return f"{value * 100:.1f} %" if value < 0.1 else f"{value * 100:.0f} %"
