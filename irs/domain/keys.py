"""S3 keys from ids; the only place where a user's file name is touched.

Ids are random (version 4) so that keys spread over S3 partitions.
"""

from __future__ import annotations

import re
import string
import unicodedata
import uuid

#: Longest display name kept, in characters.
MAX_NAME = 200
#: And in the bytes that it takes as S3's metadata, percent-encoded: 200 Chinese characters. S3
#: refuses more than 2,048 for all of an object's metadata; what else we put there takes 200.
MAX_NAME_BYTES = 1_800
#: Longest file-name part of a key; S3 allows 1,024 bytes for a whole key.
_MAX_SAFE = 100
#: What S3's documentation calls safe characters, without the slash.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
#: Those that percent-encoding leaves as they are.
_PLAIN = frozenset(string.ascii_letters + string.digits + "_.-~ ()")
_FALLBACK = "image"
#: Where clients put images into the input bucket themselves; no job stands on what is there.
UPLOADS = "uploads/"


def new_id() -> str:
    """A fresh job id."""
    return str(uuid.uuid4())


def parse_id(text: object) -> str:
    """The canonical form of a job id; raises `ValueError` for anything else."""
    if not isinstance(text, str) or len(text) != 36:
        raise ValueError("not a job id")
    return str(uuid.UUID(text))


def display_name(raw: str | None) -> str:
    """The name to show: last path component, no control or direction-changing characters.

    ``None`` (a file name that could not be decoded) and names of which nothing is left
    give ``image``.
    """
    if raw is None:
        return _FALLBACK
    base = re.split(r"[/\\]", raw)[-1]
    # Cc control, Cf invisible format characters (bidi overrides), Cs lone surrogates, and
    # Zl and Zp, which some readers take for line ends.
    dropped = ("Cc", "Cf", "Cs", "Zl", "Zp")
    plain = base.isascii() and base.isprintable()
    kept = base if plain else "".join(c for c in base if unicodedata.category(c) not in dropped)
    kept = _shortened(kept.strip())
    return kept if kept.strip(". ") else _FALLBACK


def _shortened(name: str) -> str:
    """The name within its limits; of a long one the extension stays."""
    if len(name) <= MAX_NAME and as_metadata(name) <= MAX_NAME_BYTES:
        return name
    start, dot, extension = name.rpartition(".")
    tail = dot + extension if dot and len(extension) <= 10 else ""
    start = (start if tail else name)[: MAX_NAME - len(tail)]
    room = MAX_NAME_BYTES - as_metadata(tail)
    while as_metadata(start) > room:
        start = start[:-1]
    return start + tail if tail else start.rstrip()


def as_metadata(text: str) -> int:
    """Bytes that a text takes as a value of S3's metadata (`irs.aws.objects.Objects.put`)."""
    return sum(1 if c in _PLAIN else 3 * len(c.encode()) for c in text)


def stem(name: str) -> str:
    """The name without its extension: ``test_0.JPEG`` gives ``test_0``."""
    head, dot, _ = name.rpartition(".")
    return head if dot and head else name


def in_line(name: str) -> str:
    """The stem as it stands in ``(name, label)``, where nothing in it may look like more.

    ``, `` separates name and label, so the name's own is written ``%2C ``; parentheses stay
    where they pair, and are ``%28`` and ``%29`` where they do not: ``photo (1)`` is itself,
    ``a), (b, cat)`` is no second pair.
    """
    text = stem(name).replace(", ", "%2C ")
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    return text if depth == 0 else text.replace("(", "%28").replace(")", "%29")


def safe_name(name: str) -> str:
    """ASCII letters, digits, dot, dash and underscore only; never empty, never a path."""
    ascii_only = unicodedata.normalize("NFKD", display_name(name)).encode("ascii", "ignore").decode()
    cleaned = _UNSAFE.sub("_", ascii_only).strip("._")
    if len(cleaned) > _MAX_SAFE:
        head, dot, extension = cleaned.rpartition(".")
        if dot and len(extension) <= 10:
            cleaned = head[: _MAX_SAFE - len(extension) - 1] + "." + extension
        else:
            cleaned = cleaned[:_MAX_SAFE].rstrip("._")
    return cleaned or _FALLBACK


def input_key(job_id: str, name: str) -> str:
    """Where the uploaded bytes go: ``{id}/{safe name}``."""
    return f"{parse_id(job_id)}/{safe_name(name)}"


def staged_key(job_id: str, name: str) -> str:
    """Where a client puts the bytes itself: ``uploads/{id}/{safe name}``."""
    return f"{UPLOADS}{input_key(job_id, name)}"


def ticket_key(job_id: str) -> str:
    """What is known of such an upload beforehand: ``uploads/{id}.json``."""
    return f"{UPLOADS}{output_key(job_id)}"


def output_key(job_id: str) -> str:
    """Where the result goes: ``{id}.json``."""
    return f"{parse_id(job_id)}.json"
