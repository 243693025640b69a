"""The clouds that tests run against, and a clean slate for each test."""

from __future__ import annotations

import fcntl
import io
import itertools
import logging
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from irs import settings as settings_module
from irs.settings import Settings

TESTS = Path(__file__).resolve().parent
#: Set in the processes of pytest-xdist.
XDIST = "PYTEST_XDIST_WORKER"
#: Folders by how long their files take. Files are handed out in the order that they come in.
LONGEST_FIRST = {name: place for place, name in enumerate(
    ("faults", "integration", "browser", "contract", "unit"))}
_numbers = itertools.count(1)


def pytest_configure() -> None:
    # A shell that starts the tests in its background has them ignore SIGINT, and nohup SIGHUP, and
    # whatever they start would inherit that: what a test sends would reach nobody.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes what takes minutes begins first, so that all of them end together."""
    if XDIST in os.environ:
        items.sort(key=lambda item: LONGEST_FIRST.get(item.path.relative_to(TESTS).parts[0], -1))


class Cloud:
    """An endpoint that speaks AWS."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        #: settings for the endpoint, names unique to this cloud object
        self.settings = self.fresh()

    def fresh(self, **overrides: Any) -> Settings:
        """Settings with buckets, queues and a cluster that no other test has; not created."""
        tag = f"{uuid.uuid4().hex[:8]}-{next(_numbers)}"
        values: dict[str, Any] = {
            "aws_endpoint_url": self.endpoint,
            "aws_access_key_id": "test", "aws_secret_access_key": "test",
            "input_bucket": f"in-{tag}", "output_bucket": f"out-{tag}",
            "input_queue": f"in-{tag}", "output_queue": f"out-{tag}",
            "dead_letter_queue": f"dead-{tag}", "cluster": f"c-{tag}",
            # A long poll that ends soon lets a test that stops end soon.
            "poll_wait": 1,
        }
        return settings_module.build(values | overrides)


@pytest.fixture(autouse=True)
def _clean_slate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No IRS_* or AWS_* of the caller's, no .env of the directory, no settings of the last test."""
    _forget_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)
    settings_module.load.cache_clear()
    yield
    settings_module.load.cache_clear()
    # What a test has adopted as its user data would be the next module's processes' own.
    for name in [name for name in os.environ if name.startswith("IRS_")]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _clean_logs() -> Iterator[None]:
    """No handlers, levels and formats of the last test's, nor of what a module configured."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {logger: logger.level for logger in logging.Logger.manager.loggerDict.values()
              if isinstance(logger, logging.Logger)}
    structlog.reset_defaults()
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.setLevel(levels.get(logger, logging.NOTSET))
    structlog.reset_defaults()


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """What is logged, each line as a dictionary with ``event`` and ``log_level``."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture(scope="session", autouse=True)
def _clean_session() -> Iterator[None]:
    """The same for fixtures of the session, which are set up before a test's own."""
    with pytest.MonkeyPatch.context() as patch:
        _forget_environment(patch)
        yield


def _forget_environment(patch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("IRS_", "AWS_", "OTEL_")):
            patch.delenv(name)
    # Never wait for, or find, credentials of the machine that runs the tests.
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    patch.setenv("AWS_CONFIG_FILE", os.devnull)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The embedded cloud on a free port."""
    from irs.local.emulator import Emulator

    directory = tmp_path_factory.mktemp("cloud")
    with Emulator(directory, log=directory / "emulator.log") as emulator:
        yield Cloud(emulator.endpoint)


@pytest.fixture(scope="session")
def moto_cloud() -> Iterator[Cloud]:
    """A moto server on a free port: the same code must run against a second emulator."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported default model, made once a run: the processes of xdist share it."""
    from irs.model import export_child, exported

    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if XDIST in os.environ else base) / "shared-models"
    directory.mkdir(exist_ok=True)
    chosen = settings_module.build({"model_dir": directory})
    with (directory / "making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if exported.find(chosen) is None:
            export_child.in_subprocess(chosen)
    return directory


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Real photographs as JPEG, from scikit-image's own package."""
    import skimage.data
    from PIL import Image

    found = {}
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        out = io.BytesIO()
        Image.fromarray(getattr(skimage.data, name)()).save(out, "JPEG", quality=92)
        found[name] = out.getvalue()
    return found
