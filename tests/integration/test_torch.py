"""torch's engine: all that needs no GPU on the CPU, by the same code; the rest where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from structlog.testing import capture_logs

from irs import settings
from irs.domain import images
from irs.errors import DeviceLost, ModelError, OutOfMemory
from irs.model import device as devices
from irs.model import engine, engine_torch
from irs.model.batcher import Batcher
from irs.model.device import Cpu, Cuda
from irs.model.engine_torch import TorchEngine
from irs.model.running import Running

pytestmark = pytest.mark.integration

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU on this machine")

ROOT = Path(__file__).parents[2]
SIZE, CLASSES = 8, 5
LONG = 30
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


class Small(torch.nn.Module):
    """A network as `irs.model.network` builds them, of one convolution; counts its batches."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, CLASSES))
        self.batches = []
        self.faults = []
        self.network.register_forward_pre_hook(self._before)
        self.eval().requires_grad_(False)

    def _before(self, _module, planes):
        self.batches.append(len(planes[0]))
        self.layout = planes[0].is_contiguous(memory_format=torch.channels_last)
        if self.faults:
            self.faults.pop(0)(len(planes[0]))

    def normalised(self, pixels):
        return (pixels.permute(0, 3, 1, 2).float() - 127) / 128

    def forward(self, pixels):
        return torch.softmax(self.network(self.normalised(pixels)), dim=1)


class TwoLanes(Cpu):
    """A CPU that takes two batches at once, has little memory, and can be lost."""

    lanes = 2

    def __init__(self):
        super().__init__()
        self.label = "small GPU"
        self.released = 0
        self.there = True

    def release(self):
        self.released += 1

    def alive(self):
        return self.there


def room_for(most):
    """A fault: no memory for a batch of more."""
    def check(images):
        if images > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore lines")
    return check


def pixels(count, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def running(model, device=None, *, dtype=torch.float32, most=8):
    return Running(model, device or TwoLanes(), dtype=dtype, most=most)


def expected(batch):
    with torch.inference_mode():
        return Small()(torch.from_numpy(batch)).numpy()


def test_a_batch_has_the_probabilities_of_the_module_itself_in_channels_last():
    model, batch = Small(), pixels(3)

    answer = running(model).run(batch)

    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected(batch), atol=1e-6)
    assert model.layout
    assert model.network[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_a_short_type_is_the_networks_alone(dtype, apart):
    model, batch = Small(), pixels(6)

    answer = running(model, dtype=dtype).run(batch)

    assert model.network[0].weight.dtype == model.network[5].bias.dtype == dtype
    assert model.network[1].running_var.dtype == torch.float32
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer.sum(1), 1, atol=1e-6)  # bfloat16's steps are 4e-3 wide here
    np.testing.assert_allclose(answer, expected(batch), atol=apart)


def test_a_network_too_large_for_float16_goes_on_in_float32_for_good():
    model, batch = Small(), pixels(4)
    right = expected(batch)
    # The same in all, by way of values above float16's largest, which is 65,504.
    model.network[0].weight.data *= 1e5
    model.network[0].bias.data *= 1e5
    model.network[1].running_mean *= 1e5
    model.network[1].running_var *= 1e10
    runner = running(model, dtype=torch.float16)

    with capture_logs() as lines:
        answers = [runner.run(batch) for _ in range(2)]

    for answer in answers:
        np.testing.assert_allclose(answer, right, atol=2e-2)
    assert [(line["event"], line["precision"]) for line in lines] == [("model.overflow", "float32")]


def test_more_than_goes_at_once_goes_in_parts():
    model, batch = Small(), pixels(7)

    np.testing.assert_allclose(running(model, most=3).run(batch), expected(batch), atol=1e-6)
    assert model.batches == [3, 3, 1]


def test_without_memory_the_batch_is_halved_until_it_fits_and_stays_so():
    model, device, batch = Small(), TwoLanes(), pixels(8)
    model.faults = [room_for(2)] * 9
    runner = running(model, device)

    with capture_logs() as lines:
        first = runner.run(batch)
    second = runner.run(batch)

    for answer in (first, second):
        np.testing.assert_allclose(answer, expected(batch), atol=1e-6)
    assert model.batches == [8, 4, *[2] * 8]
    assert device.released == 2
    assert [(line["event"], line["images"], line["most"]) for line in lines] == [
        ("model.less_at_once", 8, 4), ("model.less_at_once", 4, 2)]


def test_without_memory_for_one_image_it_says_so_and_goes_on():
    model = Small()
    model.faults = [room_for(0)]
    runner = running(model)

    with pytest.raises(OutOfMemory, match=r"^the small GPU has no memory for one image$"):
        runner.run(pixels(1))
    np.testing.assert_allclose(runner.run(pixels(1)), expected(pixels(1)), atol=1e-6)


def broken(images):
    raise RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA.")


def test_a_lost_device_is_asked_for_nothing_more():
    model, device = Small(), TwoLanes()
    model.faults, device.there = [broken], False
    runner = running(model, device)

    for _ in range(2):
        with pytest.raises(DeviceLost, match=r"^the small GPU is lost.*: CUDA error: unspec.*failure$"):
            runner.run(pixels(2))
    assert model.batches == [2]


def test_a_fault_that_leaves_the_device_alive_is_that_batchs():
    model = Small()
    model.faults = [broken]
    runner = running(model)

    with pytest.raises(ModelError, match=r"^torch failed on a batch of 2: CUDA error: [a-z ]*$") as caught:
        runner.run(pixels(2))
    assert not isinstance(caught.value, DeviceLost)
    np.testing.assert_allclose(runner.run(pixels(2)), expected(pixels(2)), atol=1e-6)


def test_two_batches_are_under_way_at_once_and_a_third_waits():
    model = Small()
    both = threading.Barrier(2)
    model.faults = [lambda _: both.wait(LONG), lambda _: both.wait(LONG)]
    runner = running(model)
    batches = [pixels(count) for count in (1, 2, 3)]

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(runner.run, batches))

    for answer, batch in zip(answers, batches, strict=True):
        np.testing.assert_allclose(answer, expected(batch), atol=1e-6)


def test_a_model_that_does_not_fit_is_one_line():
    class Full(TwoLanes):
        def lane(self):
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    with pytest.raises(ModelError, match=r"^the model cannot be put on the small GPU: CUDA out of .*\.$"):
        running(Small(), Full())


# -- the engine, on the default model ---------------------------------------------------------------

def photographs(preprocess):
    folder, size = Path(skimage.data.__file__).parent, preprocess.crop
    return [images.decode((folder / name).read_bytes(), images.Limits(), preprocess).pixels
            for name in PHOTOGRAPHS], (size, size, 3)


@pytest.fixture(scope="module")
def plain():
    """In float32, on the CPU."""
    return TorchEngine(settings.build({"engine_threads": 2}), device=Cpu())


@pytest.fixture(scope="module")
def batch(plain):
    photos, shape = photographs(plain.preprocess)
    return np.stack([np.frombuffer(photo, np.uint8).reshape(shape) for photo in photos])


@pytest.fixture(scope="module")
def answers(plain, batch):
    return plain.predict(batch)


@pytest.fixture(scope="module")
def shortly(batch):
    """The photographs by name (all of them: None) as a network sees them that computes in a short type."""
    def predict(precision, name=None):
        short = TorchEngine(settings.build({"precision": precision, "engine_threads": 2}), device=Cpu())
        assert short.precision == precision
        return short.predict(batch if name is None else batch[[PHOTOGRAPHS.index(name)]])

    return predict


def test_float16_keeps_apart_what_is_nearly_equal(answers, shortly):
    # A cat that is a tabby, or Egyptian, as surely to 0.4 %: bfloat16 takes the other one.
    at = PHOTOGRAPHS.index("chelsea.png")
    [found], right = shortly("float16", "chelsea.png"), answers[at]

    first, second = np.sort(right)[:-3:-1]
    assert first - second < 0.01
    assert found.dtype == np.float32
    assert found.argmax() == right.argmax()
    assert 0 < np.abs(found - right).max() < 0.01


def test_bfloat16_sees_the_same_where_it_is_not_nearly_equal(answers, shortly):
    found = shortly("bfloat16")

    best = np.sort(answers, axis=1)[:, -2:]
    sure = best[:, 1] - best[:, 0] > 0.02
    assert found.dtype == np.float32
    assert sure.sum() >= 3
    assert found.argmax(1)[sure].tolist() == answers.argmax(1)[sure].tolist()
    assert 0 < np.abs(found - answers).max() < 0.2


def test_the_batcher_keeps_both_lanes_at_work(plain, batch, answers):
    # Warmed as on a GPU: by each size, in each lane.
    two = TorchEngine(settings.build({"max_batch": 2, "engine_threads": 2}), device=TwoLanes())
    assert isinstance(two, engine.Overlapping)
    assert (two.depth, plain.depth, two.precision) == (2, 1, "float32")

    with Batcher(two, max_batch=2) as batcher:
        found = [batcher.submit(photo.tobytes()) for photo in batch]
        assert [one.result(LONG)[0].index for one in found] == answers.argmax(1).tolist()
    assert batcher.counts.images == len(batch)


def test_a_batch_that_the_host_cannot_pin_is_one_line(plain, monkeypatch):
    def full(*shape):
        raise RuntimeError("CUDA error: out of memory\nmore lines")

    monkeypatch.setattr(plain._device, "buffer", full)
    with pytest.raises(ModelError, match=r"CPU reads for 64 images \(CUDA.*memory\): lower IRS_MAX_BATCH$"):
        plain.buffer(64)


def test_a_gpu_is_warmed_by_every_size_in_every_lane(monkeypatch):
    seen = []

    class Engine:
        preprocess, labels, depth = images.Preprocess(resize=SIZE, crop=SIZE), ("a", "b"), 2

        def buffer(self, images):
            return np.empty((images, SIZE, SIZE, 3), np.uint8)

        def predict(self, batch):
            seen.append(len(batch))
            return np.full((len(batch), 2), 0.5, np.float32)

    engine.warm(Engine(), 6)
    assert seen == [1, 1, 2, 2, 4, 4, 6, 6]


def test_precision_that_cannot_be_had_stops_the_start(tmp_path):
    class Old(Cpu):
        precisions = ("float32", "float16")

    wanted = settings.build({"precision": "bfloat16", "model_dir": tmp_path})
    with pytest.raises(ModelError, match=r"^IRS_PRECISION=bfloat16: the CPU does not compute in it"):
        TorchEngine(wanted, device=Old())
    with pytest.raises(ModelError, match=r"^IRS_PRECISION=bfloat16 needs torch or openvino.*IRS_ENGINE to"):
        engine.load(wanted.model_copy(update={"engine": "onnxruntime"}))


def test_the_benchmark_measures_every_rate_and_share(tmp_path):
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, ROOT / "bench/gpu.py", "--device", "cpu", "--batches", "1", "--rounds", "1",
         "--window", "0.02", "--json", figures],
        env={**os.environ, "PYTHONPATH": str(ROOT), "IRS_ENGINE_THREADS": "1"}, cwd=tmp_path,
        capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    [row] = found["rows"]
    assert all(value > 0 for value in row.values())
    assert {"bare", "copied", "predict", "lanes", "batcher", "decode", "whole", "lanes_share"} <= row.keys()
    assert (found["device"], found["precision"]) == ("CPU", "float32")
    assert "lanes share" in done.stdout


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch):
    monkeypatch.setattr(engine, "_has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(engine_torch, "TorchEngine", lambda *_: SimpleNamespace(on_cpu=True))

    with capture_logs() as lines:
        engine._torch(settings.build(), None)

    assert [line["event"] for line in lines] == ["model.gpu_unusable"]
    assert "runs on the CPU" in lines[0]["reason"]


# -- a GPU ------------------------------------------------------------------------------------------

@gpu
def test_the_gpu_computes_what_the_cpu_does(batch, answers):
    for precision, apart in (("float32", 1e-2), ("auto", 0.02)):
        there = engine.load(settings.build({"engine": "torch", "precision": precision, "max_batch": 4}))
        found = there.predict(batch)
        assert found.argmax(1).tolist() == answers.argmax(1).tolist()
        np.testing.assert_allclose(found, answers, atol=apart)


@gpu
def test_the_gpus_batches_come_from_pinned_memory_and_overlap(batch, answers):
    there = engine.load(settings.build({"engine": "torch", "max_batch": 2}))
    assert there.depth == devices.CUDA_LANES
    assert torch.from_numpy(there.buffer(2)).is_pinned()

    with Batcher(there, max_batch=2) as batcher:
        found = [batcher.submit(photo.tobytes(), timeout=LONG) for _ in range(20) for photo in batch]
        indices = [one.result(LONG)[0].index for one in found]
    assert indices == answers.argmax(1).tolist() * 20


@gpu
def test_a_gpu_without_memory_gets_smaller_batches():
    device, batch = Cuda(), pixels(8, 64)
    free, _ = torch.cuda.mem_get_info()
    runner = running(Small(), device, most=8)
    before = runner.run(batch)
    runner.most = 8
    torch.cuda.empty_cache()
    taken = torch.empty(free - (64 << 20), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(128 << 20, dtype=torch.uint8, device="cuda")
        np.testing.assert_allclose(runner.run(batch), before, atol=1e-2)
    finally:
        del taken
        torch.cuda.empty_cache()
    assert device.alive()
