"""Text in a table that a spreadsheet may open.

A cell that begins like a formula is one for Excel and LibreOffice, and a file's name or an error
that quotes one is somebody else's text: `=HYPERLINK(…)` would send off what stands beside it.
Every CSV of ours has it as text, with an apostrophe in front; ``static/table.js`` does the same.
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import re

#: What a formula begins with, after apostrophes that were there before: `plain` knows ours by them.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def safe(value: object) -> object:
    """A cell's value as CSV has it; what is no text is itself."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def plain(text: str) -> str:
    """The opposite of `safe`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
