"""Objects in a bucket that others fill, over boto3.

obstore, which serves our own buckets, takes no key with ``//`` in it or a slash at its end,
and hears of a bucket's other region only as an error. Others' buckets have both.
"""

from __future__ import annotations

import contextlib

from irs import errors
from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings


class Foreign:
    """One bucket, read only. Every method raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings, bucket: str) -> None:
        self.bucket = bucket
        self._settings = settings

    def get(self, key: str, *, max_bytes: int, version: str | None = None) -> bytes:
        """The object's bytes; raises `errors.NotFound`.

        `errors.TooLarge` beyond ``max_bytes`` comes from the answer's headers, before any of
        the bytes is read.
        """
        client = clients.client(self._settings, "s3")
        asked = {"Bucket": self.bucket, "Key": key} | ({"VersionId": version} if version else {})
        with translated(f"S3 GET from {self.bucket}"):
            answer = client.get_object(**asked)
            with contextlib.closing(answer["Body"]) as body:
                size = answer["ContentLength"]
                if size > max_bytes:
                    raise errors.TooLarge(f"object of {size} bytes; the limit is {max_bytes}")
                # Of a known length it is read into its own memory; of an unknown one it is there twice.
                data: bytes = body.read(size)
        if len(data) != size:
            raise errors.Unreachable(f"S3 GET from {self.bucket}: the answer broke off", code="ShortRead")
        return data

    def keys(self, prefix: str, after: str, count: int) -> list[str]:
        """Up to ``count`` (at most 1,000) keys that begin with ``prefix`` and come after ``after``."""
        asked = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": count}
        with translated(f"S3 LIST of {self.bucket}"):
            answer = clients.client(self._settings, "s3").list_objects_v2(
                **asked, **({"StartAfter": after} if after else {}))
        return [item["Key"] for item in answer.get("Contents", ())]
