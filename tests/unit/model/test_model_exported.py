"""Exports on disk: whole or not at all."""

from __future__ import annotations

import hashlib
import json

import pytest
from structlog.testing import CapturingLogger

from irs import settings
from irs.domain.images import Preprocess
from irs.errors import ModelError
from irs.model import exported, registry

GRAPH = b"a graph" * 1000
PACKAGE = registry.spec("efficientnet_lite0").sha256


def record(**changes):
    return {"name": "efficientnet_lite0", "weights_sha256": PACKAGE, "origin": "package",
            "preprocess": {"resize": 256, "crop": 224}, "labels": ["a", "b"]} | changes


@pytest.fixture
def chosen(tmp_path):
    return settings.build({"model_dir": tmp_path})


def test_what_was_saved_is_found(chosen, tmp_path):
    path = exported.save(chosen, GRAPH, record())

    assert path == tmp_path / "efficientnet_lite0-579344248a93.onnx"
    assert path.read_bytes() == GRAPH
    assert exported.find(chosen) == exported.Exported(
        path=path, name="efficientnet_lite0", weights_sha256=PACKAGE, origin="package",
        preprocess=Preprocess(resize=256, crop=224), labels=("a", "b"))


def test_nothing_saved_nothing_found(chosen):
    assert exported.find(chosen) is None
    with pytest.raises(ModelError, match="no usable export of efficientnet_lite0"):
        exported.require(chosen)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _remove(path):
    path.unlink()


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("suffix", [".onnx", ".json", ".sha256"])
@pytest.mark.parametrize("harm", [_truncate, _flip, _remove, _empty])
def test_a_damaged_export_is_as_good_as_none(chosen, monkeypatch, suffix, harm):
    logged = CapturingLogger()
    monkeypatch.setattr(exported, "_log", logged)
    path = exported.save(chosen, GRAPH, record()).with_suffix(suffix)
    if (suffix, harm) == (".sha256", _truncate):
        path.write_bytes(path.read_bytes()[:-10])  # a lost newline at the end harms nothing
    else:
        harm(path)

    assert exported.find(chosen) is None
    if (suffix, harm) != (".sha256", _remove):  # without the digests nothing was ever finished
        assert [call.args for call in logged.calls] == [("model.export_unusable",)]


def test_saving_again_mends_it(chosen):
    _truncate(exported.save(chosen, GRAPH, record()))
    exported.save(chosen, GRAPH, record())

    assert exported.find(chosen)


def test_an_export_by_another_version_of_the_recipe_is_made_anew(chosen, monkeypatch):
    exported.save(chosen, GRAPH, record())
    monkeypatch.setattr(exported, "VERSION", exported.VERSION + 1)

    assert exported.find(chosen) is None


def test_a_record_that_is_json_but_no_record(chosen):
    path = exported.save(chosen, GRAPH, record()).with_suffix(".json")
    path.write_text("[]")
    sums = path.with_suffix(".sha256")
    lines = [line for line in sums.read_text().splitlines() if ".json" not in line]
    lines.append(f"{hashlib.sha256(b'[]').hexdigest()}  {path.name}")
    sums.write_text("\n".join(lines) + "\n")

    assert exported.find(chosen) is None


def test_other_weights_are_another_export(chosen, tmp_path):
    exported.save(chosen, GRAPH, record())
    own = tmp_path / "own.pth"
    own.write_bytes(b"other weights")

    assert exported.find(chosen.model_copy(update={"model_weights": str(own)})) is None
    assert exported.find(chosen.model_copy(update={"model_sha256": "1" * 64})) is None


def test_torchvisions_own_weights_are_found_without_their_digest(tmp_path):
    chosen = settings.build({"model": "resnet18", "model_dir": tmp_path})
    exported.save(chosen, GRAPH, record(name="resnet18", origin="weights", weights_sha256="2" * 64))
    assert exported.find(chosen) is None

    exported.save(chosen, GRAPH, record(name="resnet18", origin="torchvision", weights_sha256="3" * 64))
    assert exported.find(chosen).weights_sha256 == "3" * 64


def test_the_record_is_readable_json(chosen):
    path = exported.save(chosen, GRAPH, record(opset=17)).with_suffix(".json")

    assert json.loads(path.read_text())["opset"] == 17
