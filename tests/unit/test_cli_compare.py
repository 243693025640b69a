"""`irs model compare`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from irs import cli, errors
from irs.aws import objects
from irs.domain.images import Preprocess
from irs.domain.jobs import ModelInfo
from irs.model import engine as engines
from irs.settings import Settings
from irs.testing import MemoryObjects

LABELS = ("bright", "dark")


class Engine:
    """Tells bright images from dark ones, above a level of its own."""

    name = "none"
    preprocess = Preprocess(resize=4, crop=4)
    labels = LABELS

    def __init__(self, settings: Settings) -> None:
        self.info = ModelInfo(name=settings.model, version="sha256:0", engine="none")
        self.level = {"efficientnet_lite0": 100, "resnet18": 100, "vgg11": 200}[settings.model]

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        bright = batch.mean(axis=(1, 2, 3)) > self.level
        return np.where(bright[:, None], [0.9, 0.1], [0.2, 0.8]).astype(np.float32)


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "load", lambda settings, _fetch: Engine(settings))


def grey(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (level,) * 3).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for level in (10, 150, 250):
        (made / f"{level}.png").write_bytes(grey(level))
    (made / "broken.png").write_bytes(b"no image at all")
    return made


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.cli, ["model", "compare", *args])


def test_the_table_tells_where_they_are_apart(folder: Path) -> None:
    done = run("fleet", "vgg11", "--from", str(folder))
    assert done.exit_code == 0, done.output
    assert "3 images, 1 skipped" in done.output
    assert "the same label: 66.7%; B's label among A's five: 100.0%" in done.output
    assert "150.png  A bright 90%  B dark 80%" in done.output


@pytest.mark.parametrize(("least", "code"), [("0.6", 0), ("0.7", 1)])
def test_the_exit_code_is_a_gate(folder: Path, least: str, code: int) -> None:
    done = run("fleet", "vgg11", "--from", str(folder), "--at-least", least, "--json")
    assert done.exit_code == code
    found = json.loads(done.output)
    assert (found["images"], found["skipped"], found["agreement"]) == (3, 1, 0.6667)
    assert [model["name"] for model in found["models"]] == ["efficientnet_lite0", "vgg11"]


def test_stored_uploads_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = MemoryObjects("in")
    ids = [f"{number:08x}-1111-4111-8111-111111111111" for number in range(4)]
    for number, job in enumerate(ids):
        inputs.put(f"{job}/secret name.png", grey(150 if number else 10))
    inputs.put("uploads/x", b"of which no job has been made")
    monkeypatch.setattr(objects, "Objects", lambda _settings, _bucket: inputs)
    monkeypatch.setenv("IRS_CANARY_MODEL", "vgg11")
    done = run("--images", "3", "--json")
    found = json.loads(done.output)
    assert (found["images"], found["agreement"]) == (3, 0.3333)
    assert [apart["image"] for apart in found["apart"]] == ids[1:3]


@pytest.mark.parametrize(("args", "why"), [
    ((), "there is no canary: set IRS_CANARY_MODEL, or name two models"),
    (("fleet", "efficientnet_lite0"), "both are efficientnet_lite0"),
    (("fleet", "vgg11", "--from", "broken.png"), "all 1 were refused, the first because"),
])
def test_what_cannot_be_compared_is_one_line(args: tuple[str, ...], why: str) -> None:
    Path("broken.png").write_bytes(b"no image at all")
    done = run(*args)
    assert done.exit_code == cli.CANNOT
    (line,) = done.stderr.splitlines()
    assert line.startswith("irs: ")
    assert why in line


@pytest.mark.parametrize("wrong", ["resnet18=", "=x.pth", "../vgg11", "VGG"])
def test_half_a_model_is_a_usage_error(wrong: str) -> None:
    done = run(wrong, "vgg11")
    assert done.exit_code == 2
    assert "FIRST" in done.stderr
    assert "resnet50=s3://bucket/resnet50.pth" in done.stderr


@pytest.mark.parametrize(("args", "why"), [
    (("vgg11", "nope"), "irs: SECOND: nope is none"),
    (("nope", "vgg11"), "irs: FIRST: nope is none"),
    (("vgg11", "nope=x.pth"), "irs: SECOND: nope is none"),
    (("vgg11", "canary"), "irs: IRS_CANARY_MODEL: nope is none"),
    (("fleet", "vgg11"), "irs: IRS_MODEL: nope is none"),
])
def test_a_wrong_model_is_told_by_the_word_that_named_it(
        monkeypatch: pytest.MonkeyPatch, args: tuple[str, str], why: str) -> None:
    def load(settings: Settings, _fetch: object) -> Engine:
        if settings.model == "nope":
            raise errors.ModelError("IRS_MODEL: nope is none; see IRS_MODEL_DIR")
        return Engine(settings)

    monkeypatch.setattr(engines, "load", load)
    if "canary" in args:
        monkeypatch.setenv("IRS_CANARY_MODEL", "nope")
    if "fleet" in args:
        monkeypatch.setenv("IRS_MODEL", "nope")
    done = run(*args)
    assert done.exit_code == cli.CANNOT
    assert done.stderr == f"{why}; see IRS_MODEL_DIR\n"
