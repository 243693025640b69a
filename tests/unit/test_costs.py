"""The arithmetic of docs/costs.md, and that the page has what it prints."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def costs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("costs", ROOT / "bench" / "costs.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["costs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("images", "dollars"), [
    (0, 0), (1, 2), (10, 20), (11, 21), (20, 30), (21, 30.5), (1000, 30 + 980 * 0.5)])
def test_prices_that_fall(costs: ModuleType, images: int, dollars: float) -> None:
    assert costs.tiered(images, ((10, 2), (20, 1), (math.inf, 0.5))) == pytest.approx(dollars)


def test_what_a_month_takes(costs: ModuleType) -> None:
    load = costs.Load(images=100_000, rate=50, busy=0.5, kilobytes=100, days=10)
    assert load.hours == pytest.approx(100_000 * 30 / 50 / 0.5 / 3600)
    assert load.storage == pytest.approx(100 * costs.STORAGE)  # 100 kB times a million
    found = costs.parts(load)
    assert found["irs"]["instances"] == pytest.approx(load.hours * costs.INSTANCE)
    assert found["irs"]["calls"] == pytest.approx(3 * costs.CALLS)
    assert found["rekognition"]["images"] == pytest.approx(1000 + 2e6 * 0.0008)


@pytest.mark.parametrize("images", [1_000, 100_000, 10_000_000])
def test_the_page_quotes_what_is_printed(costs: ModuleType, images: int) -> None:
    page = (ROOT / "docs" / "costs.md").read_text()
    (row,) = re.findall(rf"^\| {images:,} \|(.*)\|$", page, flags=re.MULTILINE)
    quoted = [float(cell.strip().lstrip("$").replace(",", "")) for cell in row.split("|")]
    parts = costs.parts(costs.Load(images=images))
    assert quoted == [round(sum(parts[name].values()), 2) for name in ("irs", "rekognition", "sagemaker")]


def test_a_service_that_waits_calls_too(costs: ModuleType) -> None:
    month = 30 * 86_400 / 1e6
    assert costs.waiting(0) == pytest.approx(month * (1 / 4 + 1 / 3) * 5 + (month * 2 / 3 - 1) * 0.4)
    assert costs.waiting(1) - costs.waiting(0) == pytest.approx(month / 5 * (5 + 2 * 0.4))
