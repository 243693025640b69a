"""What a spreadsheet may take for a formula."""

from __future__ import annotations

import pytest

from irs.domain import cells


@pytest.mark.parametrize(("text", "cell"), [
    ("a.jpg", "a.jpg"), ("", ""), ("a=b.jpg", "a=b.jpg"), ("'a.jpg", "'a.jpg"), ("''", "''"),
    ("=1+1", "'=1+1"), ("+1.jpg", "'+1.jpg"), ("-1.jpg", "'-1.jpg"), ("@SUM(A1).jpg", "'@SUM(A1).jpg"),
    ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"), ("'=1", "''=1"), ("''-", "'''-"),
])
def test_there_and_back(text: str, cell: str) -> None:
    assert cells.safe(text) == cell
    assert cells.plain(cell) == text


@pytest.mark.parametrize("value", [0, -1, 0.5, -0.5, None, True])
def test_what_is_no_text_is_itself(value: object) -> None:
    assert cells.safe(value) is value


def test_a_cell_of_before_is_read_as_it_is() -> None:
    assert cells.plain("=1.jpg") == "=1.jpg"
