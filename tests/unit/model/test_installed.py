"""An engine that is not installed is one line that says how to install it."""

from __future__ import annotations

import pytest

from irs import settings
from irs.errors import ModelError
from irs.model import engine, installed


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch"])
def test_what_is_there(name: str) -> None:
    assert installed.lacking(name) is None


@pytest.mark.parametrize(("asked", "machine", "said"), [
    ("openvino", "x86_64", "openvino is not installed (pip install 'irs[worker]')"),
    ("openvino", "aarch64", "openvino is not installed (irs[worker] leaves it out on arm64: pip install "
                            "openvino, which needs glibc 2.35)"),
    ("torch", "x86_64", "torch is not installed (pip install 'irs[gpu]')"),
    ("auto", "aarch64", "onnxruntime is not installed (pip install 'irs[worker]')"),
])
def test_what_is_not(asked: str, machine: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(installed.platform, "machine", lambda: machine)
    with pytest.raises(ModelError) as caught:
        engine.load(settings.build({"engine": asked}))
    assert str(caught.value) == f"IRS_ENGINE={asked}: {said}"
