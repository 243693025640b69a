"""OpenVINO's engine on the real model: as onnxruntime sees it in float32, nearly so in bfloat16."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from irs import settings
from irs.domain import images
from irs.errors import ModelError
from irs.model import exported
from irs.model.batcher import Batcher
from irs.model.engine_onnx import OnnxEngine
from irs.model.engine_openvino import PRECISIONS, OpenvinoEngine

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def source(model_dir: Path) -> exported.Exported:
    return exported.require(settings.build({"model_dir": model_dir}))


@pytest.fixture(scope="module")
def batch(source: exported.Exported) -> Array:
    folder, size = Path(skimage.data.__file__).parent, source.preprocess.crop
    decoded = (images.decode((folder / name).read_bytes(), images.Limits(), source.preprocess)
               for name in PHOTOGRAPHS)
    return np.stack([np.frombuffer(one.pixels, np.uint8).reshape(size, size, 3) for one in decoded])


@pytest.fixture(scope="module")
def answers(source: exported.Exported, batch: Array) -> Array:
    return OnnxEngine(source, threads=2).predict(batch)


@pytest.fixture(scope="module")
def plain(source: exported.Exported) -> OpenvinoEngine:
    return OpenvinoEngine(source, threads=2, precision="float32")


@pytest.fixture(scope="module")
def processor(source: exported.Exported) -> set[str]:
    """What this processor computes in, by the engine's own refusals."""
    able = set()
    for name in PRECISIONS:
        try:
            able.add(OpenvinoEngine(source, threads=1, precision=name).precision)
        except ModelError as exc:
            assert str(exc).startswith(f"IRS_PRECISION={name}: this processor computes in float32"), exc
            assert str(exc).endswith("; leave it at auto")
    return able


def test_float32_gives_what_onnxruntime_gives(plain: OpenvinoEngine, batch: Array, answers: Array) -> None:
    found = plain.predict(batch)
    assert (found.dtype, found.shape) == (np.float32, (len(PHOTOGRAPHS), 1000))
    np.testing.assert_allclose(found, answers, atol=1e-5)
    # A batch of another size is another program; and an answer is not the memory of the next.
    alone = plain.predict(batch[:1])
    np.testing.assert_allclose(alone, found[:1], atol=1e-5)
    np.testing.assert_allclose(found, answers, atol=1e-5)


def test_auto_is_bfloat16_where_the_processor_has_it(
        source: exported.Exported, processor: set[str], batch: Array, answers: Array) -> None:
    chosen = OpenvinoEngine(source, threads=2, precision="auto")
    assert chosen.precision == ("bfloat16" if "bfloat16" in processor else "float32")
    found = chosen.predict(batch)
    best = np.sort(answers, axis=1)[:, -2:]
    sure = best[:, 1] - best[:, 0] > 0.05
    assert sure.sum() >= 3
    assert found.argmax(1)[sure].tolist() == answers.argmax(1)[sure].tolist()
    assert np.abs(found - answers).max() < (0.1 if "bfloat16" in processor else 1e-5)
    if "bfloat16" in processor:
        assert np.abs(found - answers).max() > 1e-5  # it is not float32 by another name


def test_it_says_what_model_it_is_and_takes_batches_as_the_others_do(
        plain: OpenvinoEngine, batch: Array, answers: Array) -> None:
    assert (plain.info.name, plain.info.version) == ("efficientnet_lite0", "sha256:579344248a93")
    assert plain.info.engine == "openvino"
    with pytest.raises(ModelError, match="uint8"):
        plain.predict(np.zeros((1, 64, 64, 3), np.uint8))
    with Batcher(plain, max_batch=2) as batcher:
        found = [batcher.submit(photo.tobytes()) for photo in batch]
        assert [one.result(30)[0].index for one in found] == answers.argmax(1).tolist()


@pytest.mark.parametrize("broken", ["unlike", "cut off", "unknown"])
def test_a_file_that_is_no_model_is_one_line(
        broken: str, source: exported.Exported, tmp_path: Path) -> None:
    whole = source.path.read_bytes()
    content, said = {
        "unlike": (b"no model", "Unable to read the model"),
        "cut off": (whole[:1_000_000], "Model can't be parsed"),
        # An operation of the same length, so that the file remains a model.
        "unknown": (whole.replace(b"\"\x04Clip", b"\"\x04Klip"), "operations: Klip")}[broken]
    assert content != whole
    (tmp_path / "no.onnx").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        OpenvinoEngine(dataclasses.replace(source, path=tmp_path / "no.onnx"), threads=1, precision="auto")
    assert str(caught.value).startswith(f"OpenVINO cannot load {tmp_path / 'no.onnx'}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert " failed at src/" not in str(caught.value)


PROGRAM = """
import ctypes, sys
home, fenced = sys.argv[1:]
if fenced == "fenced" and ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE
    sys.exit("PR_SET_MDWE")
from irs import settings
from irs.model import engine, weights
from irs.errors import ModelError
try:
    found = engine.load(settings.load())
    print(found.name, [name for name in ("torch", "onnxruntime", "openvino_telemetry.main")
                       if sys.modules.get(name)])
except ModelError as exc:
    print(exc)
"""


SIGNALLED = """
import signal, threading
from irs import settings
from irs.model import engine
loaded = [engine.load(settings.load()) for _ in range(2)]
del loaded[0]
ending = threading.Thread(target=loaded.clear)
ending.start()
ending.join()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_heard_after_engines_have_come_and_gone(model_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=60, check=False,
        cwd=ROOT, env={**os.environ, "IRS_MODEL_DIR": str(model_dir), "IRS_ENGINE": "openvino"})
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["heard"]), done.stderr


def worker(model_dir: Path, home: Path, fenced: str = "") -> str:
    """What a process says that loads the engine as a worker does."""
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), fenced], capture_output=True, text=True, timeout=60,
        check=False, cwd=ROOT, env={**environ, "HOME": str(home), "IRS_MODEL_DIR": str(model_dir),
                                    "IRS_ENGINE": "openvino", "IRS_LOG_FORMAT": "json"})
    if done.stderr.strip() == "PR_SET_MDWE":
        pytest.skip("this kernel cannot refuse memory that is written and executed")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_worker_loads_neither_torch_nor_onnxruntime_and_reports_to_nobody(
        model_dir: Path, tmp_path: Path) -> None:
    assert worker(model_dir, tmp_path) == "openvino []"
    assert not list(tmp_path.rglob("*"))  # telemetry gives each user an id, in a file


def test_where_code_may_not_be_written_it_says_so(model_dir: Path, tmp_path: Path) -> None:
    assert "MemoryDenyWriteExecute=no" in worker(model_dir, tmp_path, "fenced")


def test_it_is_one_setting_away(model_dir: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "irs", "model", "check", "--json"], capture_output=True, text=True,
        timeout=60, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IRS_ENGINE": "openvino",
             "IRS_MODEL_DIR": str(model_dir)})
    assert (done.returncode, json.loads(done.stdout)["engine"]) == (0, "openvino"), done.stderr
