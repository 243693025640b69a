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
