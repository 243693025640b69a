"""Where an object is: ``s3://bucket/key``."""

from __future__ import annotations

from dataclasses import dataclass

SCHEME = "s3://"
#: Bytes of a key in UTF-8, S3's own limit.
MAX_KEY = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """One object."""

    bucket: str
    key: str

    @property
    def name(self) -> str:
        """What the object's file would be called: the key's last part."""
        return self.key.rpartition("/")[2]


def parse(text: object) -> Location:
    """The address that ``text`` is; raises `ValueError`, whose message is fit for a client."""
    if not isinstance(text, str) or not text.startswith(SCHEME):
        raise ValueError("an address looks like s3://bucket/key")
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    return location(bucket, key)


def location(bucket: object, key: object) -> Location:
    """The same from its two halves."""
    if not isinstance(bucket, str) or not isinstance(key, str) or not bucket or not key:
        raise ValueError("an address names a bucket and a key, as s3://bucket/key does")
    check_key(key)
    # On the way to S3 a path may be tidied up, and would then name another bucket's object.
    if {".", ".."} & set(key.split("/")):
        raise ValueError("a key with . or .. between its slashes cannot be used")
    return Location(bucket=bucket, key=key)


def check_key(key: str) -> None:
    """Raise `ValueError` for what is no object's key, nor the beginning of one's."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError("the key is not Unicode text") from None
    if size > MAX_KEY:
        raise ValueError(f"the key has {size} bytes; S3's keys have at most {MAX_KEY}")
