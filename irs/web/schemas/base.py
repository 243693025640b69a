"""What the models have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

#: Of examples.
ID = "7f3c2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11"
WHERE = f"/v1/images/{ID}"
UUID = {"format": "uuid"}

def may(about: str, *, format: str | None = None, **more: Any) -> Any:
    """A field that is left out where there is nothing to say."""
    def optional(schema: dict[str, Any]) -> None:
        schema.pop("default", None)
        if format is not None:
            schema["format"] = format

    return Field(None, description=about, json_schema_extra=optional, **more)


class Model(BaseModel):
    """The base of all: fields may be added, so an answer may have more than a model tells."""

    model_config = ConfigDict(defer_build=True, protected_namespaces=())


class JsonSchema(GenerateJsonSchema):
    """JSON schemas without a title for each field, which would only be its name once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """pydantic's."""
        return False
