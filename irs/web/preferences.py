"""What a client asks for beside the image: a media type (Accept) and a wait (Prefer)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from werkzeug.datastructures import Headers, MIMEAccept

TEXT, JSON, HTML = "text/plain", "application/json", "text/html"
#: In our order: the first wins a tie, and is the answer to ``*/*``, to nothing, and to
#: a type that we do not have (an answer in the wrong form beats a 406 after the work).
OFFERED = (TEXT, JSON, HTML)
#: Seconds: the longest ``Prefer: wait`` granted where the service's own wait is shorter.
MAX_WAIT = 300.0

#: RFC 7240, section 2: ``token [= word] *(; parameter)``, in a comma-separated list.
_PREFERENCE = re.compile(
    r"""[\s,]*(?P<name>[!#$%&'*+.^`|~\w-]+)
        (?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s,;"]*)))?
        (?P<parameters>(?:\s*;(?:[^,"]|"(?:[^"\\]|\\.)*")*)?)\s*(?:,|$)""",
    re.VERBOSE,
)
#: A delta in seconds of more digits than this is "for ever", and would not fit a float.
_MAX_DIGITS = 9


def media_type(accept: MIMEAccept) -> str:
    """The one of `OFFERED` that ``accept`` likes best."""
    return accept.best_match(OFFERED) or TEXT


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """How long to wait for the answer."""

    #: seconds
    seconds: float
    #: value of ``Preference-Applied``; None where nothing was preferred
    applied: str | None = None


def wait(headers: Headers, *, default: float) -> Wait:
    """The wait that ``Prefer`` asks for, or ``default`` seconds.

    A longer wait than the service grants is shortened, and ``Preference-Applied`` says so.
    Of a preference given twice the first counts, one that does not parse is ignored
    (RFC 7240, section 2). ``respond-async`` alone means no wait at all.
    """
    given: dict[str, str] = {}
    text = ",".join(headers.getlist("Prefer"))
    position = 0
    while position < len(text) and (match := _PREFERENCE.match(text, position)):
        value = match["quoted"] if match["quoted"] is not None else match["word"] or ""
        given.setdefault(match["name"].lower(), value)
        position = match.end()
    asked = given.get("wait", "")
    if asked.isascii() and asked.isdigit():
        seconds = float(asked) if len(asked) <= _MAX_DIGITS else float("inf")
        seconds = min(seconds, max(default, MAX_WAIT))
        return Wait(seconds=seconds, applied=f"wait={seconds:g}")
    if "respond-async" in given:
        return Wait(seconds=0.0, applied="respond-async")
    return Wait(seconds=default)
