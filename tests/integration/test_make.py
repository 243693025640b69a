"""`make` starts the right process and passes signals on, without an install: a stand-in for it."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30
#: Stands for `irs up`: says who it is, and which signal ended it.
STAND_IN = f"""#!{sys.executable}
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
print("started", os.getpid(), *sys.argv[1:], flush=True)
print("stopped", signal.sigwait([signal.SIGINT, signal.SIGTERM]).name, flush=True)
"""

pytestmark = pytest.mark.integration


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose .venv looks ready, with the stand-in as its `irs`."""
    if shutil.which("make") is None:
        if os.environ.get("CI"):
            pytest.fail("no make on this machine")
        pytest.skip("no make on this machine")
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "scripts/bootstrap.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    irs = tmp_path / ".venv" / "bin" / "irs"
    irs.parent.mkdir(parents=True)
    irs.write_text(STAND_IN)
    irs.chmod(0o755)
    bootstrap = runpy.run_path(str(tmp_path / "scripts" / "bootstrap.py"))
    bootstrap["STAMP"].write_text(bootstrap["_wanted"]())
    return tmp_path


@pytest.fixture
def up(tree: Path) -> Iterator[subprocess.Popen[str]]:
    # Not as a make below the make that may run the tests: it would speak of its directory,
    # and take over that one's ARGS.
    above = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS")
    env = {k: v for k, v in os.environ.items() if k not in above}
    made = subprocess.Popen(["make", f"PYTHON={sys.executable}", "up"], cwd=tree, text=True, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    yield made
    if made.poll() is None:
        os.killpg(made.pid, signal.SIGKILL)
    made.communicate()


@pytest.mark.parametrize(("number", "to_the_group"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_make_up_passes_signals_on(
        up: subprocess.Popen[str], number: signal.Signals, to_the_group: bool) -> None:
    assert up.stdout is not None
    word, pid, *arguments = up.stdout.readline().split()
    assert (word, arguments) == ("started", ["up"])
    # Ctrl-C at a terminal reaches the whole group, a service manager signals make alone.
    (os.killpg if to_the_group else os.kill)(up.pid, number)
    said, _ = up.communicate(timeout=DEADLINE)
    assert f"stopped {number.name}" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_make_says_when_there_is_no_such_python(tree: Path) -> None:
    done = subprocess.run(["make", "PYTHON=no-such-python", "up"], cwd=tree, capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("no no-such-python here; name one: make PYTHON=")


def test_a_python_that_is_too_old_is_told(tree: Path) -> None:
    code = ("import runpy, sys; sys.version_info = (3, 10, 4, 'final', 0); sys.version = '3.10.4 (main)'; "
            "sys.argv = ['bootstrap.py']; runpy.run_path('scripts/bootstrap.py', run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("IRS needs Python 3.11 or newer and this is 3.10.4")


def test_another_trees_environment_is_left_alone(tree: Path, tmp_path: Path) -> None:
    (tree / ".venv").rename(tmp_path / "theirs")
    (tree / ".venv").symlink_to(tmp_path / "theirs")
    (tree / "requirements.txt").write_text("# others\n")
    before = sorted(tmp_path.rglob("theirs/*"))
    done = subprocess.run([sys.executable, "scripts/bootstrap.py"], cwd=tree, capture_output=True,
                          text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert "is a link to" in done.stderr.splitlines()[-1]
    assert sorted(tmp_path.rglob("theirs/*")) == before


def test_a_changed_requirement_is_noticed(tree: Path) -> None:
    bootstrap = runpy.run_path(str(tree / "scripts" / "bootstrap.py"))
    assert bootstrap["_stamp"]() == bootstrap["_wanted"]()
    with (tree / "requirements.txt").open("a") as file:
        file.write("# one more\n")
    assert bootstrap["_stamp"]() != bootstrap["_wanted"]()
