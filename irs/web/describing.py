"""What a view takes and gives, declared beside its code: `irs.web.document` makes the document of it.

A route costs a few lines::

    @blueprint.delete("/images/<text>")
    @describes(
        "Cancel a job that has not started",
        tag="images",
        params=(JOB_ID, PREFER),
        answers={200: ("It will not run.", "Result"), 204: ("It is gone.", None)},
        refuses=(errors.BadRequest, (404, Status.UNKNOWN), (409, "already_started")),
        example="-X DELETE",
    )
    def cancel(text: str) -> Response: ...

- Parameters of the path are named by position: the view's own name (``text``) is not seen.
- An answer is a sentence and its content: a model's name in `irs.web.schemas` (``"A | B"`` for
  either), a mapping from media type to one where it is not JSON alone, or None for no body. Names,
  so that the models are imported with the first request for the document. The headers
  ``Location`` and ``Retry-After`` come with the statuses that have them (`irs.web.operations.BY_STATUS`),
  ``Preference-Applied`` comes with `PREFER`; others are named by ``headers``.
- A refusal is a class of the error tree, or (status, code). What any request may be told
  (401, 408, 429, 431, 500, 503) is added by itself, and to those with a body 400 and 413.
- Sentences are format strings of the settings: ``at most {settings.max_files} files``.

The tests of the web tier hold every answer that they get against the document: a status, a
media type, a header, a field or a code that is not declared fails them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from irs import errors

View = TypeVar("View", bound=Callable[..., Any])
#: Names of models in `irs.web.schemas`, ``|`` between them; or a JSON schema.
Content = str | Mapping[str, Any]
#: A sentence, and the content: JSON, or by media type, or none.
Answer = tuple[str, str | Mapping[str, Content] | None]

_ATTRIBUTE = "irs_operation"

TEXT: Mapping[str, Any] = {"type": "string"}
BINARY: Mapping[str, Any] = {"type": "string", "format": "binary", "minLength": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Param:
    """One parameter; those of the path are required, no other is."""

    name: str
    where: Literal["path", "query", "header"]
    #: one sentence or two
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    example: Any = None


JOB_ID = Param(name="id", where="path", about="The job, by its id.",
               schema={"type": "string", "format": "uuid"}, example="7f3c2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11")
PREFER = Param(
    name="Prefer", where="header", example="wait=10",
    about="`wait=N`: how many seconds the request may wait for the result; `respond-async`: "
          "none (RFC 7240). What was granted is in `Preference-Applied`; what does not parse is ignored.")

IDEMPOTENCY_KEY = Param(
    name="Idempotency-Key", where="header",
    schema={"type": "string", "pattern": "^[!-~]{1,255}$"},
    about="Of the client's making. A repeat with the same key and content within 24 hours is the "
          "first request's job; with other content it is refused.")

CALLBACK_URL = Param(
    name="callback_url", where="query", schema={"type": "string", "format": "uri"},
    about="Where the result is posted besides, signed; where the service makes callbacks.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One view's declaration."""

    summary: str
    #: the heading that it stands under, one of `irs.web.document.TAGS`
    tag: str
    #: more than the summary; CommonMark
    about: str = ""
    params: tuple[Param, ...] = ()
    #: content of the request's body by media type; empty: it takes none
    body: Mapping[str, Content] = field(default_factory=dict)
    answers: Mapping[int, Answer]
    refuses: tuple[type[errors.Refused] | tuple[int, str], ...] = ()
    #: forms of a refusal beside the usual ones
    refused_as: Mapping[str, Content] = field(default_factory=dict)
    #: of the answers above, beside those that their statuses bring
    headers: tuple[str, ...] = ()
    #: what a curl command has between its name and the address
    example: str = ""
    #: what it has behind the address
    query: str = ""


def describes(summary: str, *, tag: str, answers: Mapping[int, Answer], **more: Any) \
        -> Callable[[View], View]:
    """Declare what a view takes and gives; ``more`` are the fields of `Operation`."""
    operation = Operation(summary=summary, tag=tag, answers=answers, **more)

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, operation)
        return view

    return declare


def declared(view: Callable[..., Any]) -> Operation | None:
    """What `describes` said of a view; None: nothing."""
    return getattr(view, _ATTRIBUTE, None)
