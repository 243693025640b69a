"""Addresses that let a client put one object into a bucket, without credentials of its own."""

from __future__ import annotations

from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings


def put_url(settings: Settings, bucket: str, key: str, *, size: int, content_type: str,
            seconds: int) -> str:
    """Where to PUT ``size`` bytes of that type, for ``seconds``. Nothing is asked of S3.

    Both headers are signed: S3 refuses an object of another length or type. With credentials
    that end sooner, as an instance's do, the address ends with them. Raises
    `errors.CloudError` where there are none.
    """
    with translated(f"signing for {bucket}"):
        url: str = clients.signer(settings).generate_presigned_url(
            "put_object", HttpMethod="PUT", ExpiresIn=seconds,
            Params={"Bucket": bucket, "Key": key, "ContentLength": size, "ContentType": content_type})
    return url


def get_url(settings: Settings, bucket: str, key: str, *, seconds: int) -> str:
    """Where to GET an object for ``seconds``; raises as `put_url` does."""
    return _url(settings, "get_object", bucket, key, seconds)


def write_url(settings: Settings, bucket: str, key: str, *, seconds: int) -> str:
    """Where to PUT an object, of whatever length and as often as wanted, for ``seconds``."""
    return _url(settings, "put_object", bucket, key, seconds)


def _url(settings: Settings, call: str, bucket: str, key: str, seconds: int) -> str:
    with translated(f"signing for {bucket}"):
        url: str = clients.signer(settings).generate_presigned_url(
            call, ExpiresIn=seconds, Params={"Bucket": bucket, "Key": key})
    return url
