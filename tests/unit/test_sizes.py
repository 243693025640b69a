"""Rooms stay liveable: a module has 250 lines or fewer, a function 40."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {str(path.relative_to(ROOT)): path.read_text() for path in (
    *sorted((ROOT / "irs").rglob("*.py")),
    *(ROOT / f"{name}.py" for name in ("web_entry", "worker_entry", "celeryconfig", "flowerconfig")))}

#: Lines of a module, and of a function with its docstring.
MODULE, FUNCTION = 250, 40
#: Those that are longer, and shall not stay so. What is short enough leaves these lists.
LONG_MODULES: set[str] = set()
LONG_FUNCTIONS = {
    # One loop, for every message of a day: calls in it would cost what they make clearer.
    "irs/simulate/engine.py:advance",
}


def _functions(text: str) -> dict[str, int]:
    """The most lines that a function of each name has; what it holds inside it counts."""
    longest: dict[str, int] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            longest[node.name] = max(lines, longest.get(node.name, 0))
    return longest


LENGTHS = {name: len(text.splitlines()) for name, text in MODULES.items()}


@pytest.fixture(scope="module")
def functions() -> dict[str, int]:
    """The lines of each function, by ``file:name``."""
    return {f"{name}:{function}": lines for name, text in MODULES.items()
            for function, lines in _functions(text).items()}


def test_modules_are_short() -> None:
    long = {name for name, lines in LENGTHS.items() if lines > MODULE}
    assert long <= LONG_MODULES, "split it where a concept with a name of its own begins"


def test_functions_are_short(functions: dict[str, int]) -> None:
    long = {name for name, lines in functions.items() if lines > FUNCTION}
    assert long <= LONG_FUNCTIONS, "split it where one step ends"


def test_the_exceptions_are_still_needed(functions: dict[str, int]) -> None:
    short = {name for name in LONG_MODULES if LENGTHS.get(name, 0) <= MODULE}
    short |= {name for name in LONG_FUNCTIONS if functions.get(name, 0) <= FUNCTION}
    assert not short, "short enough now: take it out of the list"
