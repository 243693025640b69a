"""Who imports whom: in a fresh interpreter, and in the source."""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Traces are off unless a setting says otherwise, and then nothing of theirs is loaded.
TRACES = "opentelemetry"
#: What is run in a fresh interpreter, and what must not be loaded after it.
LIGHT = {
    "domain": (
        "import irs.domain.jobs, irs.domain.keys, irs.domain.scaling",
        ("boto3", "botocore", "obstore", "celery", "kombu", "flask", "numpy", "torch", "PIL"),
    ),
    "domain.images": (
        "import irs.domain.images",
        ("boto3", "botocore", "obstore", "celery", "kombu", "flask", "torch"),
    ),
    "settings": (
        "import irs.settings, irs.errors, irs.log",
        ("boto3", "botocore", "obstore", "celery", "kombu", "flask", "numpy", "torch", "PIL"),
    ),
    "aws": (
        "import irs.aws.queues, irs.aws.objects, irs.aws.fleet, irs.aws.metadata",
        ("celery", "kombu", "flask", "numpy", "torch", "PIL"),
    ),
    "scaler": (
        "import irs.scaler.loop, irs.scaler.__main__",
        ("celery", "kombu", "flask", "torch", "torchvision", "onnxruntime", "numpy", "PIL", TRACES),
    ),
    "web": (
        "import web_entry",
        (TRACES, "flower", "tornado", "torch", "torchvision", "onnxruntime", "numpy", "irs.model",
         "irs.worker"),
    ),
    "web package": (
        "import irs.web.app",
        # Models of the OpenAPI document are imported with the first request for it.
        ("torch", "torchvision", "onnxruntime", "numpy", "irs.model", "irs.worker", "irs.web.schemas"),
    ),
    "broker": (
        "import irs.broker.transport",
        ("flask", "torch", "onnxruntime", "numpy", "PIL"),
    ),
    "results": (
        "import irs.results.store, irs.results.listener",
        ("flask", "torch", "onnxruntime", "numpy"),
    ),
    "worker": (
        # The tasks as Celery loads them; which engine runs is decided when a model is loaded.
        "import irs.worker.tasks",
        ("torch", "torchvision", "flask", "flower", "tornado", TRACES),
    ),
    "onnx engine": (
        "import irs.model.engine, irs.model.engine_onnx",
        ("torch", "torchvision", "flask", "celery", "boto3"),
    ),
    "local": (
        "import irs.local",
        ("torch", "torchvision", "flask", "celery", "numpy"),
    ),
    "client": (
        "import irs.client",
        ("boto3", "botocore", "obstore", "celery", "kombu", "flask", "pydantic", "numpy", "torch", "PIL"),
    ),
    "drill": (
        "import irs.drill.run, irs.drill.drills",
        ("celery", "kombu", "flask", "torch", "torchvision", "onnxruntime", "numpy", "PIL"),
    ),
    "cli": (
        "import runpy, sys\nsys.argv = ['irs', '--help']\n"
        "try:\n    runpy.run_module('irs', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code",
        ("torch", "torchvision", "boto3", "botocore", "obstore", "celery", "kombu", "flask", "numpy"),
    ),
}


@pytest.mark.parametrize("name", LIGHT)
def test_a_fresh_interpreter_loads_no_more_than_it_needs(name: str) -> None:
    statement, absent = LIGHT[name]
    code = f"{statement}\nimport sys\nsys.exit(','.join(m for m in {absent!r} if m in sys.modules) or None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


#: The house from the roof down: a room may import those of lower floors, and of its own.
FLOORS = (
    {"web_entry", "worker_entry", "irs.cli", "irs.__main__", "irs.doctor", "irs.drill"},
    {"irs.web", "irs.worker", "irs.scaler", "irs.simulate", "irs.local", "irs.testing", "irs.client"},
    # What looks after jobs that fell out of the queue, for the web tier and the command; and
    # what calls a client's server back; and what feeds batches; and the machine image, and its logs.
    {"irs.ami", "irs.audit", "irs.bulk", "irs.callbacks", "irs.shipping"},
    # The Celery app: what its clients and its workers share, made of the floor below.
    {"irs.celery", "celeryconfig"},
    {"irs.broker", "irs.results", "irs.aws", "irs.model"},
    {"irs.domain"},
    {"irs.settings", "irs.apikeys", "irs.signing", "irs.log", "irs.memory", "irs.metrics", "irs.tracing",
     "irs.heartbeat", "irs.holders", "irs.rounds", "irs.errors", "irs"},
)
#: Rooms of one floor do not know each other, but for these.
NEIGHBOURS = {
    # Their channels, queues and objects are the AWS ports.
    ("irs.broker", "irs.aws"), ("irs.results", "irs.aws"), ("irs.model", "irs.aws"),
    # These floors are one room each, in several files.
    *((a, b) for floor in (0, 2, -1) for a in FLOORS[floor] for b in FLOORS[floor]),
}
#: Only these may talk to AWS.
CLOUD_LIBRARIES = {"boto3", "botocore", "obstore", "aiobotocore"}
CLOUD_ROOMS = {"irs.aws", "irs.local"}


def _modules() -> Iterator[tuple[str, Path]]:
    for name in ("web_entry", "worker_entry", "celeryconfig"):
        if (ROOT / f"{name}.py").exists():
            yield name, ROOT / f"{name}.py"
    for path in sorted((ROOT / "irs").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _room(module: str) -> str:
    """The part of the house: ``irs.web.app`` is in ``irs.web``."""
    return ".".join(module.split(".")[:2])


def _floor(room: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"{room} has no floor: give it one in FLOORS, and in docs/architecture.md"
    return found[0]


@functools.cache
def _tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(), str(MODULES[name]))


@functools.cache
def _imports(name: str) -> tuple[tuple[int, str], ...]:
    """(line, absolute module) of each import, those inside functions included."""
    return tuple(_found(name))


def _found(name: str) -> Iterator[tuple[int, str]]:
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) \
                if node.level else node.module or ""
            for alias in node.names:
                # `from irs import errors` and `from irs.aws import queues` name modules.
                full = f"{base}.{alias.name}"
                where = ROOT.joinpath(*full.split("."))
                module = where.with_suffix(".py").exists() or (where / "__init__.py").exists()
                yield node.lineno, full if module else base


MODULES = dict(_modules())


def test_imports_point_down() -> None:
    wrong = []
    for name in MODULES:
        room = _room(name)
        for line, target in _imports(name):
            other = _room(target)
            if target.split(".")[0] not in {"irs", "web_entry", "worker_entry", "celeryconfig"}:
                continue
            if other == room or (room, other) in NEIGHBOURS or _floor(other) > _floor(room):
                continue
            wrong.append(f"{name}:{line} imports {target}")
    assert not wrong


def test_only_the_aws_rooms_talk_to_aws() -> None:
    assert not [f"{name}:{line} imports {target}" for name in MODULES
                if _room(name) not in CLOUD_ROOMS
                for line, target in _imports(name) if target.split(".")[0] in CLOUD_LIBRARIES]


#: The parts of the domain that open images; no other sees Pillow.
IMAGES = {f"irs.domain.{name}" for name in (
    "images", "footprint", "jpeg", "orientation", "pillow", "rgb", "room")}


def test_the_domain_is_pure() -> None:
    """The standard library and ourselves; Pillow for images alone; no clock, no disk, no net."""
    ours = {*sys.stdlib_module_names, "irs"}
    impure = {"time", "socket", "subprocess", "threading", "asyncio", "urllib", "http", "os", "logging"}
    wrong = []
    for name in MODULES:
        if _room(name) == "irs.domain":
            used = {target.split(".")[0] for _, target in _imports(name)}
            bad = used - ours - {"PIL"} if name in IMAGES else (used - ours) | (used & impure)
            wrong += [f"{name} imports {each}" for each in sorted(bad)]
    assert not wrong


def _environment(tree: ast.AST) -> Iterator[int]:
    """Lines that use the environment, but for those that only add to it."""
    written = {id(node.value) for node in ast.walk(tree)
               if isinstance(node, ast.Attribute) and node.attr == "update"}
    for node in ast.walk(tree):
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
                and isinstance(node.value, ast.Name) and node.value.id == "os"
                and id(node) not in written):
            yield node.lineno


def test_only_the_settings_read_the_environment() -> None:
    """A module that serves another program's configuration may write there."""
    others = [name for name in MODULES if name != "irs.settings"]
    assert not [f"{name}:{line}" for name in others for line in _environment(_tree(name))]
    assert not [f"{name}:{line}" for name in others for line, target in _imports(name)
                if target in ("os.environ", "dotenv")]
