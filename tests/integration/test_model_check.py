"""`irs model check`: what a machine of the image tests itself with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from irs import cli, settings

pytestmark = pytest.mark.integration


def check(model_dir: Path, *words: str) -> tuple[int, str]:
    settings.load.cache_clear()
    done = CliRunner(env={"IRS_MODEL_DIR": str(model_dir), "IRS_ENGINE": "onnxruntime",
                          "IRS_ENGINE_THREADS": "1"}).invoke(
        cli.cli, ["model", "check", *words], prog_name="irs")
    assert "Traceback" not in done.output
    return done.exit_code, done.output.strip()


def test_a_photo_gets_its_label(model_dir: Path, photos: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "coffee.jpg").write_bytes(photos["coffee"])
    code, said = check(model_dir, "--json", str(tmp_path / "coffee.jpg"))
    assert code == 0
    told = json.loads(said)
    assert (told["label"], told["engine"]) == ("espresso", "onnxruntime")
    assert told["model"] == "efficientnet_lite0"
    assert told["version"].startswith("sha256:")


def test_what_is_missing_or_broken_is_one_line(model_dir: Path, tmp_path: Path) -> None:
    code, said = check(tmp_path)
    assert (code, said) == (2, f"irs: no usable export of efficientnet_lite0 in {tmp_path}")
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    code, said = check(model_dir, str(tmp_path / "no.jpg"))
    assert (code, len(said.splitlines())) == (2, 1)
