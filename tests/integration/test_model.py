"""The real model, exported for real: both engines, real photographs, real processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import skimage.data

import irs
from irs import settings
from irs.domain import images
from irs.errors import ModelError
from irs.model import engine, export, export_child, exported, registry
from irs.model.batcher import Batcher

pytestmark = pytest.mark.integration

_ROOT = str(Path(irs.__file__).parent.parent)

#: In scikit-image's own wheel; what ImageNet's classes may call each.
PHOTOGRAPHS = {
    "chelsea.png": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee.png": {"espresso", "cup", "coffee mug"},
    "rocket.jpg": {"missile", "projectile"},
    "motorcycle_left.png": None,
    "astronaut.png": None,
    "camera.png": None,
    "hubble_deep_field.jpg": None,
}


def photographs(preprocess: images.Preprocess) -> np.ndarray:
    folder = Path(skimage.data.__file__).parent
    size = preprocess.crop
    return np.stack([
        np.frombuffer(images.decode((folder / name).read_bytes(), images.Limits(), preprocess).pixels,
                      np.uint8).reshape(size, size, 3)
        for name in PHOTOGRAPHS
    ])


@pytest.fixture(scope="session")
def both(model_dir):
    """The two engines on the default model."""
    return [engine.load(settings.build({"model_dir": model_dir, "engine": name}))
            for name in ("onnxruntime", "torch")]


@pytest.fixture(scope="session")
def resnet(tmp_path_factory):
    """Settings for a ResNet-18 whose weights are random, in a file."""
    from irs.model import torchvision_import

    torchvision = torchvision_import.load()
    import torch

    directory = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(1)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), directory / "weights.pth")
    return settings.build({"model": "resnet18", "model_dir": directory / "models",
                           "model_weights": str(directory / "weights.pth")})


def fresh_python(program: str, **variables: str) -> str:
    """What ``program`` prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, "PYTHONPATH": _ROOT, **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_both_engines_give_the_same_classes(both):
    batch = photographs(both[0].preprocess)

    ours, theirs = (one.predict(batch) for one in both)

    assert ours.shape == theirs.shape == (len(PHOTOGRAPHS), 1000)
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.argmax(1).tolist() == theirs.argmax(1).tolist()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(ours.sum(1), 1, atol=1e-4)


def test_photographs_get_their_names(both):
    answers = engine.top_k(both[0].predict(photographs(both[0].preprocess)), both[0].labels)

    for (name, right), answer in zip(PHOTOGRAPHS.items(), answers, strict=True):
        assert right is None or answer[0].label in right, (name, answer)


def test_both_engines_describe_the_same_model(both):
    ours, theirs = both

    assert ours.info.name == theirs.info.name == "efficientnet_lite0"
    assert ours.info.version == theirs.info.version == "sha256:579344248a93"
    assert (ours.info.engine, theirs.info.engine) == ("onnxruntime", "torch")
    assert ours.preprocess == theirs.preprocess
    assert tuple(ours.labels) == tuple(theirs.labels) == registry.labels()


def test_any_batch_size_gives_the_same_answers(both):
    batch = photographs(both[0].preprocess)
    alone = np.concatenate([both[0].predict(batch[i:i + 1]) for i in range(len(batch))])

    np.testing.assert_allclose(alone, both[0].predict(batch), atol=1e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_a_batch_of_another_shape_is_refused(both, which):
    with pytest.raises(ModelError, match="uint8"):
        both[which].predict(np.zeros((1, 64, 64, 3), np.uint8))


def test_the_batcher_on_the_real_engine(both):
    batch = photographs(both[0].preprocess)
    expected = both[0].predict(batch).argmax(1).tolist()

    with Batcher(both[0], max_batch=4) as batcher:
        answers = [batcher.submit(one.tobytes()) for one in batch]
        assert [answer.result(30)[0].index for answer in answers] == expected


def test_a_worker_with_the_export_in_place_never_imports_torch(model_dir):
    heavy = "('torch', 'torchvision', 'efficientnet_lite_pytorch', 'onnx')"
    program = (
        "import sys; from irs import settings; from irs.model import engine, batcher\n"
        "e = engine.load(settings.load())\n"
        f"print(e.name, [m for m in {heavy} if m in sys.modules])"
    )
    out = fresh_python(program, IRS_MODEL_DIR=str(model_dir), IRS_ENGINE="onnxruntime")
    assert out.splitlines()[-1] == "onnxruntime []"


def test_a_worker_that_has_to_export_first_never_imports_torch(resnet):
    program = (
        "import sys; from irs import settings; from irs.model import engine\n"
        "e = engine.load(settings.load())\n"
        "print(e.info.name, 'torch' in sys.modules)"
    )
    variables = settings.as_env(resnet, "model", "model_dir", "model_weights")
    out = fresh_python(program, IRS_ENGINE="onnxruntime", **variables)
    assert out.splitlines()[-1] == "resnet18 False"


def test_any_torchvision_model_runs_on_both_engines(resnet):
    engines = [engine.load(resnet.model_copy(update={"engine": name})) for name in ("onnxruntime", "torch")]
    batch = photographs(engines[0].preprocess)

    ours, theirs = (one.predict(batch) for one in engines)

    assert ours.argmax(1).tolist() == theirs.argmax(1).tolist()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert engines[0].info.version == engines[1].info.version


def test_weights_of_another_network(resnet, tmp_path):
    wrong = resnet.model_copy(update={"model": "resnet34", "model_dir": tmp_path})

    with pytest.raises(ModelError, match="does not hold weights for resnet34") as caught:
        engine.load(wrong.model_copy(update={"engine": "onnxruntime"}))
    assert "\n" not in str(caught.value)


def test_weights_that_would_run_code(resnet, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"layer": Evil()}, protocol=2))
    chosen = resnet.model_copy(update={"model_weights": str(tmp_path / "evil.pth"), "engine": "torch"})

    with pytest.raises(ModelError, match=r"evil\.pth does not hold weights"):
        engine.load(chosen)
    assert not (tmp_path / "ran").exists()


def test_the_wrong_digest_stops_the_start(resnet, tmp_path):
    chosen = resnet.model_copy(update={"model_sha256": "0" * 64, "model_dir": tmp_path})

    for name in ("onnxruntime", "torch"):
        with pytest.raises(ModelError, match=r"not 0{64} as it must"):
            engine.load(chosen.model_copy(update={"engine": name}))


def test_an_unknown_model_stops_the_start(tmp_path):
    with pytest.raises(ModelError, match="did you mean resnet18"):
        engine.load(settings.build({"model": "resnet81", "model_dir": tmp_path, "engine": "onnxruntime"}))


def test_a_truncated_export_is_made_anew(resnet, tmp_path):
    chosen = resnet.model_copy(update={"model_dir": tmp_path, "engine": "onnxruntime"})
    path = export.export(chosen)
    whole = path.stat().st_size
    os.truncate(path, whole // 2)

    loaded = engine.load(chosen)

    assert path.stat().st_size == whole
    assert loaded.predict(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, 1000)


def test_the_export_is_a_sound_model_with_its_sums_beside_it(model_dir):
    found = exported.require(settings.build({"model_dir": model_dir}))

    graph = onnx.load(found.path)
    onnx.checker.check_model(graph)
    assert [one.name for one in graph.graph.input] == ["pixels"]
    subprocess.run(["sha256sum", "--check", "--quiet", found.path.with_suffix(".sha256").name],
                   cwd=model_dir, check=True)
    assert json.loads(found.path.with_suffix(".json").read_text())["origin"] == "package"


def test_workers_that_start_together_export_once(resnet, tmp_path):
    chosen = resnet.model_copy(update={"model_dir": tmp_path})
    failures = []

    def one():
        try:
            export_child.in_subprocess(chosen)
        except ModelError as exc:
            failures.append(exc)

    written = []
    workers = [threading.Thread(target=one) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
        written.append(exported.require(chosen).path.stat().st_mtime_ns)

    assert failures == []
    assert len(set(written)) == 1


def test_a_name_that_is_no_model_leaves_no_file(resnet, tmp_path):
    with pytest.raises(ModelError, match="nope is neither"):
        export.export(resnet.model_copy(update={"model": "nope", "model_dir": tmp_path}))
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_taken_away_meanwhile_locks_nobody_out(resnet, tmp_path, monkeypatch):
    chosen, flock = resnet.model_copy(update={"model_dir": tmp_path}), fcntl.flock

    def late(handle, how):
        # The holder ends between a waiting one's open and its lock, and the next one begins.
        monkeypatch.setattr(fcntl, "flock", flock)
        (path := tmp_path / f"{chosen.model}.lock").unlink()
        others.append(export._try_lock(path))
        flock(handle, how)

    others = []
    monkeypatch.setattr(fcntl, "flock", late)
    assert export._try_lock(tmp_path / f"{chosen.model}.lock") is None
    with others[0]:
        assert export._try_lock(tmp_path / f"{chosen.model}.lock") is None


def test_an_exporter_leaves_when_its_parent_dies(resnet, tmp_path):
    # The lock is held here, so that the child waits for it until it notices the end of its stdin.
    chosen = resnet.model_copy(update={"model_dir": tmp_path})
    with export._locked(chosen):
        program = (
            "from irs import settings; from irs.model import export_child\n"
            "export_child.in_subprocess(settings.load())"
        )
        variables = settings.as_env(chosen, "model", "model_dir", "model_weights")
        with subprocess.Popen(
                [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": _ROOT, **variables}) as parent:
            try:
                child = _wait_for_child(parent.pid)
            finally:
                parent.kill()
        _wait_until_gone(child)
    assert exported.find(chosen) is None


def _wait_for_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children in /proc")
    return int(_poll(lambda: children.read_text().split())[0])


def _wait_until_gone(pid: int) -> None:
    stat = Path(f"/proc/{pid}/stat")
    _poll(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def _poll(condition, deadline=30.0):
    waiting = threading.Event()
    for _ in range(int(deadline / 0.02)):
        if found := condition():
            return found
        waiting.wait(0.02)
    raise AssertionError("waited in vain")


def test_a_torchvision_model_is_described_by_its_weights_metadata():
    spec = registry.spec("resnet18")

    assert spec.preprocess == images.Preprocess(resize=256, crop=224)
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53))
    assert spec.std == pytest.approx((58.395, 57.12, 57.375))
    assert spec.source == "torchvision"
    assert spec.url.endswith("/resnet18-f37072fd.pth")


def test_another_crop_is_that_models_own():
    assert registry.spec("inception_v3").preprocess == images.Preprocess(resize=342, crop=299)


def test_an_unknown_name_is_refused_with_a_way_out():
    with pytest.raises(ModelError, match=r"resnet81.*mean resnet18.*irs\.model\.registry") as caught:
        registry.spec("resnet81")
    assert "\n" not in str(caught.value)


def test_detection_models_are_not_classifiers():
    with pytest.raises(ModelError, match="fasterrcnn_resnet50_fpn"):
        registry.spec("fasterrcnn_resnet50_fpn")


def test_every_name_resolves():
    names = registry.names()

    assert "efficientnet_lite0" in names
    assert "resnet18" in names
    for name in names:
        assert registry.spec(name).preprocess.crop >= 224


def test_labels_are_the_same_as_torchvisions():
    from irs.model import torchvision_import

    models = torchvision_import.load().models
    assert tuple(models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]) == registry.labels()


def test_a_vision_transformer_exports():
    # Its fused attention has no ONNX counterpart and is traced in parts. A small one: the
    # smallest of torchvision's names has 88 million parameters.
    import torch

    from irs.model import torchvision_import

    transformer = torchvision_import.load().models.VisionTransformer(
        image_size=224, patch_size=32, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = transformer

        def forward(self, pixels):
            return self.transformer(pixels.permute(0, 3, 1, 2) / 255).softmax(1)

    model, spec = Small().eval(), registry.spec("vit_b_32")

    assert export._verify(model, export._convert(model, spec), spec) == 1000
    assert torch.backends.mha.get_fastpath_enabled()
