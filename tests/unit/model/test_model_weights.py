"""Weights from each source, and what happens when they are not the ones that were meant."""

from __future__ import annotations

import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from irs import settings
from irs.domain.images import Preprocess
from irs.errors import ModelError, NotFound
from irs.model import registry, weights

DATA = b"not really weights"
SHA = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64

RESNET = registry.ModelSpec(
    name="resnet18", preprocess=Preprocess(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    source="torchvision", url="https://weights.invalid/resnet18-00000000.pth")


@pytest.fixture
def build(tmp_path):
    def _build(**values):
        return settings.build({"model": "resnet18", "model_dir": tmp_path / "models"} | values)
    return _build


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(DATA)
    return path


def no_fetch(bucket, key):
    raise AssertionError("must not be fetched")


def test_the_packages_own_weights_are_the_registrys(build):
    chosen = build(model="efficientnet_lite0")
    spec = registry.spec("efficientnet_lite0")

    found = weights.obtain(chosen, spec)

    assert found.path.is_file()
    assert found.sha256 == spec.sha256 == weights.known_digest(chosen)


def test_a_local_file(build, file):
    chosen = build(model_weights=str(file))

    assert weights.known_digest(chosen) == SHA
    assert weights.obtain(chosen, RESNET) == weights.Weights(path=file, sha256=SHA)


def test_a_local_file_with_the_digest_it_must_have(build, file):
    assert weights.obtain(build(model_weights=str(file), model_sha256=SHA), RESNET).sha256 == SHA


@pytest.mark.parametrize("model", ["resnet18", "efficientnet_lite0"])
def test_another_digest_than_it_must_have(build, file, model):
    with pytest.raises(ModelError, match=rf"{SHA}, not {OTHER}.*IRS_MODEL_SHA256"):
        weights.obtain(build(model=model, model_weights=str(file), model_sha256=OTHER), RESNET)


def test_the_package_with_a_digest_that_is_not_its_own(build):
    with pytest.raises(ModelError, match="IRS_MODEL_SHA256"):
        weights.obtain(build(model="efficientnet_lite0", model_sha256=OTHER),
                       registry.spec("efficientnet_lite0"))


def test_a_file_that_is_not_there(build, tmp_path):
    chosen = build(model_weights=str(tmp_path / "none.pth"))

    for ask in (lambda: weights.known_digest(chosen), lambda: weights.obtain(chosen, RESNET)):
        with pytest.raises(ModelError, match=r"IRS_MODEL_WEIGHTS: cannot read .*none\.pth: No such file"):
            ask()


def test_s3_is_read_once_when_its_digest_is_given(build):
    asked = []

    def fetch(bucket, key):
        asked.append((bucket, key))
        return DATA

    chosen = build(model_weights="s3://bucket/deep/key.pth", model_sha256=SHA)
    first = weights.local(chosen, fetch)

    assert asked == [("bucket", "deep/key.pth")]
    assert Path(first.model_weights).read_bytes() == DATA
    assert weights.local(chosen, no_fetch) == first


def test_s3_is_read_again_when_what_was_kept_is_damaged(build):
    chosen = build(model_weights="s3://bucket/key", model_sha256=SHA)
    kept = Path(weights.local(chosen, lambda *_: DATA).model_weights)
    kept.write_bytes(DATA[:3])

    weights.local(chosen, lambda *_: DATA)

    assert kept.read_bytes() == DATA


def test_s3_without_a_digest_is_read_each_time(build):
    chosen = build(model_weights="s3://bucket/key")
    weights.local(chosen, lambda *_: DATA)

    again = weights.local(chosen, lambda *_: b"newer")

    assert again.model_sha256 == hashlib.sha256(b"newer").hexdigest()


def test_s3_with_another_digest_leaves_nothing_behind(build, tmp_path):
    chosen = build(model_weights="s3://bucket/key", model_sha256=OTHER)

    with pytest.raises(ModelError, match=r"s3://bucket/key has sha256"):
        weights.local(chosen, lambda *_: DATA)
    assert not list(tmp_path.rglob("*.pth"))


def test_s3_errors_reach_the_caller_as_they_are(build):
    def fetch(bucket, key):
        raise NotFound("no such key")

    with pytest.raises(NotFound):
        weights.local(build(model_weights="s3://bucket/key"), fetch)


@pytest.mark.parametrize(("address", "reason"), [
    ("s3://bucket", "is not s3://bucket/key"),
    ("s3:///key", "is not s3://bucket/key"),
])
def test_an_address_that_is_none(build, address, reason):
    with pytest.raises(ModelError, match=reason):
        weights.local(build(model_weights=address), no_fetch)


def test_s3_without_anybody_to_fetch(build):
    with pytest.raises(ModelError, match="give it a local path"):
        weights.local(build(model_weights="s3://bucket/key"), None)


@pytest.fixture
def site():
    """A download site that serves `DATA` at any path."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_download_is_kept_and_checked(build, site, tmp_path):
    chosen = build()
    spec = replace(RESNET, url=f"{site}/resnet18-{SHA[:8]}.pth")

    found = weights.obtain(chosen, spec)

    assert found.sha256 == SHA
    assert found.path == tmp_path / "models" / f"resnet18-{SHA[:8]}.pth"
    # The site is not asked again.
    assert weights.obtain(chosen, replace(spec, url=f"http://127.0.0.1:9/resnet18-{SHA[:8]}.pth")) == found


def test_a_download_with_another_digest_than_its_name_says(build, site, tmp_path):
    with pytest.raises(ModelError, match="arrived damaged"):
        weights.obtain(build(), replace(RESNET, url=f"{site}/resnet18-00000000.pth"))
    assert list((tmp_path / "models").iterdir()) == []


def test_a_download_that_cannot_be_had_says_what_to_set(build):
    with pytest.raises(ModelError, match=r"cannot download .*resnet18.* set IRS_MODEL_WEIGHTS") as caught:
        weights.obtain(build(), replace(RESNET, url="http://127.0.0.1:9/resnet18-00000000.pth"))
    assert "\n" not in str(caught.value)


def test_a_directory_that_cannot_be_written(build, tmp_path):
    (tmp_path / "models").write_text("a file")

    with pytest.raises(ModelError, match="IRS_MODEL_DIR: cannot write"):
        weights.local(build(model_weights="s3://bucket/key"), lambda *_: DATA)
