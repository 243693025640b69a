"""How AWS is addressed, where no endpoint is named."""

from __future__ import annotations

import pytest

from irs import settings as settings_module
from irs.aws import clients


@pytest.mark.parametrize(("bucket", "by_host"), [("photos", "true"), ("photos.example.com", "false")])
def test_a_bucket_with_dots_is_no_hosts_name(bucket: str, by_host: str) -> None:
    """S3's certificate is for ``*.s3.REGION.amazonaws.com``, where ``*`` is one label."""
    settings = settings_module.build({"aws_access_key_id": "a", "aws_secret_access_key": "b"})
    assert clients.store(settings, bucket).config["virtual_hosted_style_request"] == by_host
