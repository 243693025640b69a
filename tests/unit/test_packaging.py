"""The wheel has all that runs, its extras are requirements.txt's, and the images' locks agree."""

from __future__ import annotations

import importlib.util
import re
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from types import ModuleType

import pytest
from packaging import requirements

import irs
from tests import wheels

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "docker" / "locks").glob("*.txt"))
#: What each extra is for, and what must not come with it.
ABSENT = {
    "": {"torch", "onnxruntime", "openvino", "numpy", "ministack", "pytest"},
    "worker": {"torch", "torchvision", "onnx"}, "gpu": {"onnxruntime", "openvino"},
    "local": {"torch", "numpy"},
    "simulate": {"torch", "onnxruntime"},
}
PRESENT = {
    "": {"celery", "flask", "obstore", "boto3", "pillow", "click"},
    "worker": {"numpy", "onnxruntime", "openvino"},
    "gpu": {"torch", "torchvision", "efficientnet-lite-pytorch"},
    "export": {"onnx", "torch", "onnxruntime"}, "local": {"ministack", "uvicorn", "httptools"},
    "simulate": {"numpy", "matplotlib"}, "dev": {"pytest", "ruff"},
}


def loaded(name: str) -> ModuleType:
    """A script of the repository's as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pins() -> dict[str, dict[str, str]]:
    """By extra: package to version."""
    text = (ROOT / "requirements.txt").read_text("utf-8")
    return {extra: dict(_pin(line) for line in lines)
            for extra, lines in loaded("setup").sections(text).items()}


def _pin(text: str) -> tuple[str, str]:
    name, _, version = text.partition(";")[0].strip().partition("==")
    return re.sub(r"\[.*\]", "", name), version


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    made = wheels.build(tmp_path_factory.mktemp("source"), SOURCE_DATE_EPOCH="1764547200")
    assert made.name == f"irs-{irs.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(made)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    text = wheel.read(f"irs-{irs.__version__}.dist-info/METADATA").decode()
    return HeaderParser().parsestr(text)


def test_the_wheel_has_every_file_of_the_service_and_no_other(wheel: zipfile.ZipFile) -> None:
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "irs").rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    assert {"irs/py.typed", "irs/web/templates/upload.html", "irs/web/static/style.css",
            "irs/model/imagenet_labels.json"} <= wanted
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == wanted | {"celeryconfig.py", "web_entry.py", "worker_entry.py"}


def test_the_wheel_has_the_command(wheel: zipfile.ZipFile) -> None:
    points = wheel.read(f"irs-{irs.__version__}.dist-info/entry_points.txt").decode()
    assert "irs = irs.cli:main" in points.splitlines()


def test_the_metadata_are_those_of_requirements_txt(
        metadata: Message, pins: dict[str, dict[str, str]]) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("irs", irs.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    found: dict[str, dict[str, str]] = {}
    for line in metadata.get_all("Requires-Dist") or []:
        pin, _, condition = line.partition("; ")
        extra = re.search(r'extra == "(\w+)"', condition)
        name, version = _pin(pin)
        found.setdefault(extra[1] if extra else "", {})[name] = version
    assert found == pins


def test_amazon_linux_on_arm64_is_asked_for_nothing_that_has_no_wheel_for_it(metadata: Message) -> None:
    """OpenVINO's wants glibc 2.35, one more than it has."""
    [line] = [line for line in metadata.get_all("Requires-Dist") or [] if line.startswith("openvino")]
    asked = requirements.Requirement(line).marker
    assert asked is not None
    assert asked.evaluate({"extra": "worker", "platform_machine": "x86_64"})
    assert not asked.evaluate({"extra": "worker", "platform_machine": "aarch64"})


def test_every_requirement_is_somewhere_and_each_extra_has_its_own(pins: dict[str, dict[str, str]]) -> None:
    assert set(pins) == set(PRESENT)
    for extra, names in PRESENT.items():
        assert names <= set(pins[extra]), extra
    for extra, names in ABSENT.items():
        assert not names & {*pins[""], *pins[extra]}, extra
    lines = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if "==" in line]
    assert len(lines) == len({name for names in pins.values() for name in names})


def test_a_heading_names_its_extras() -> None:
    read = loaded("setup").sections("# a remark\na==1  # x\n# -- b [one, two]\nb==2  # y\n\n# -- c\nc==3\n")
    assert read == {"": ["a==1", "c==3"], "one": ["b==2"], "two": ["b==2"]}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_is_what_requirements_txt_pins_and_every_file_has_its_digest(
        path: Path, pins: dict[str, dict[str, str]]) -> None:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    locked = {}
    for line in lines:
        found = re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line)
        assert found, line
        locked[found[1]] = found[2]
    wanted = pins[""] if path.stem == "base" else {**pins[""], **pins[path.stem]}
    assert wanted.items() <= locked.items(), "requirements.txt has changed: make locks"
    assert not {"torch", "torchvision"} & set(locked)


def test_the_locks_are_of_one_resolution() -> None:
    """What two images have in common is the same in both."""
    by_name: dict[str, set[str]] = {}
    for path in LOCKS:
        for line in path.read_text("utf-8").splitlines():
            if not line.startswith("#"):
                by_name.setdefault(line.partition("==")[0], set()).add(line)
    assert {path.stem for path in LOCKS} == {"base", "worker", "local"}
    assert not {name: lines for name, lines in by_name.items() if len(lines) > 1}
