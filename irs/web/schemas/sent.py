"""What is sent: images, and where they are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from irs.web.schemas.base import UUID, Model, may

#: What an address in S3 begins with.
ADDRESS = "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/"
CALLBACK = "Where the result is posted besides, signed; where the service makes callbacks."

class Form(Model):
    """Files of a form. The field is `myfile` by custom; any name works."""

    myfile: list[bytes] = Field(description="One file or several.", min_length=1)


class OneFile(Model):
    """One file of a form. The field is `myfile` by custom; any name works."""

    myfile: bytes = Field(description="The file.")
    callback_url: str | None = may(CALLBACK, pattern="^https?://")


class InS3(Model):
    """An image that is in S3 already, in a bucket that the service may read."""

    s3: str = Field(description="`s3://bucket/key`.", pattern=ADDRESS + "[^/]+$")
    name: str | None = may("What to call it; the key's last part where it is not said.")
    callback_url: str | None = may(CALLBACK, pattern="^https?://")


class Uploaded(Model):
    """An image that its client has put where `POST /v1/uploads` said."""

    upload: str = Field(description="The upload's id, and then the job's.", json_schema_extra=UUID)
    callback_url: str | None = may(CALLBACK, pattern="^https?://")


class Announced(Model):
    """An image that will be put into S3."""

    size: int = Field(description="Its bytes, exactly.", ge=1)
    name: str | None = may("What to call it.")
    content_type: str | None = may("What the PUT will be sent as: `image/…` or `application/octet-stream`, "
                            "which is what it is where it is not said.")


class Followed(Model):
    """Jobs to be told of."""

    ids: list[Annotated[str, Field(json_schema_extra=UUID)]] = Field(
        description="Their ids, in the order that they were sent in, as far as there is one.",
        min_length=1, max_length=2_000)


class Below(Model):
    """All objects whose keys begin so."""

    s3: str = Field(description="`s3://bucket/prefix/`; the bucket is an allowed one.",
                    pattern=ADDRESS, examples=["s3://photos/2026/"])


class Addresses(Model):
    """Objects in S3, each an image."""

    images: list[Annotated[str, Field(pattern=ADDRESS + "[^/]+$")]] = Field(
        description="`s3://bucket/key`, in the order of the batch.", min_length=1,
        examples=[["s3://photos/1.jpg", "s3://photos/2.jpg"]])
