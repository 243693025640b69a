from __future__ import annotations

import pytest

from irs.domain import locations


@pytest.mark.parametrize(("text", "bucket", "key", "name"), [
    ("s3://photos/a.jpg", "photos", "a.jpg", "a.jpg"),
    ("s3://photos/2026/11/a b+c%20.jpg", "photos", "2026/11/a b+c%20.jpg", "a b+c%20.jpg"),
    ("s3://photos//a.jpg", "photos", "/a.jpg", "a.jpg"),
    ("s3://photos/a//b.jpg", "photos", "a//b.jpg", "b.jpg"),
    ("s3://photos/a/", "photos", "a/", ""),
    ("s3://photos/ü/…ñ.jpg", "photos", "ü/…ñ.jpg", "…ñ.jpg"),
    ("s3://photos/a..b/...jpg", "photos", "a..b/...jpg", "...jpg"),
    ("s3://photos/" + "x" * 1024, "photos", "x" * 1024, "x" * 1024),
])
def test_an_address_is_a_bucket_and_a_key(text, bucket, key, name):
    found = locations.parse(text)
    assert (found.bucket, found.key, found.name) == (bucket, key, name)


@pytest.mark.parametrize(("text", "why"), [
    (None, "looks like"), (7, "looks like"), (["s3://a/b"], "looks like"), ("", "looks like"),
    ("photos/a.jpg", "looks like"), ("S3://photos/a", "looks like"), ("https://s3/photos/a", "looks like"),
    ("s3://photos", "a bucket and a key"), ("s3://photos/", "a bucket and a key"),
    ("s3:///a.jpg", "a bucket and a key"),
    ("s3://photos/" + "ü" * 513, "1026 bytes"), ("s3://photos/\ud800", "not Unicode"),
    # A path that is tidied up on its way would name another bucket's object.
    ("s3://photos/../secrets/a.jpg", "cannot be used"), ("s3://photos/a/./b", "cannot be used"),
    ("s3://photos/..", "cannot be used"),
])
def test_what_is_no_address_is_named(text, why):
    with pytest.raises(ValueError, match=why):
        locations.parse(text)
