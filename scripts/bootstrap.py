"""Make `.venv` ready, then become the command: ``python3 scripts/bootstrap.py [COMMAND…]``.

Standard library only, and readable by Pythons too old for IRS, because telling them so is
its first task. A stamp in `.venv` holds what it was made from; while that is unchanged the
whole thing takes a few milliseconds. The command replaces this process, so a signal sent
to it reaches the command and nothing stands between make and what it started.
"""

import fcntl
import hashlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

NEEDED = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"
LOG = VENV / "install.log"
REQUIREMENTS = ROOT / "requirements.txt"
#: Seconds of pip's silence after which we say that it is still there.
PATIENCE = 10
#: Megabytes from which a download is worth a line.
LARGE = 5.0

_COLLECTING = re.compile(r"Collecting (\S+).* \(from -r ")
_DOWNLOADING = re.compile(r"\s+Downloading (\S+?)-\d\S* \(([\d.]+) MB\)")
_INSTALLING = re.compile(r"Installing collected packages: (.*)")


def main():
    """Exit status: 1 where something could not be installed, 2 where Python is too old."""
    if sys.version_info < NEEDED:
        sys.exit(f"IRS needs Python {NEEDED[0]}.{NEEDED[1]} or newer and this is "
                 f"{sys.version.split()[0]} ({sys.executable}); name another: make PYTHON=python3.12 …")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        ready()
    except KeyboardInterrupt:
        sys.exit(130)
    command = sys.argv[1:]
    if command:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - an argument list of the Makefile's, no shell


def ready():
    """The virtual environment as requirements.txt wants it."""
    if _stamp() == _wanted():
        return
    if VENV.is_symlink():
        sys.exit(f"{VENV} is a link to {VENV.resolve()}, which is made of other requirements and not "
                 "ours to change: remove the link")
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock").open("w") as lock:
        # `make up` and `make test` started together install once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _stamp() == _wanted():
            return
        _install()


def _install():
    started = time.monotonic()
    old = _stamp().splitlines()
    STAMP.unlink(missing_ok=True)
    python = VENV / "bin" / "python"
    if not python.exists() or old[:2] != _wanted().splitlines()[:2]:
        _say(f"making .venv with Python {sys.version.split()[0]}")
        for left in ("bin", "lib", "lib64", "include"):  # of another Python or another place
            path = VENV / left
            path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
        if subprocess.call([sys.executable, "-m", "venv", str(VENV)]) != 0:  # noqa: S603 - ours
            sys.exit("python could not make a virtual environment; on Debian and Ubuntu: "
                     "apt install python3-venv")
    # Without its last line: an install that is interrupted goes on where it stopped.
    STAMP.write_text("".join(_wanted().splitlines(keepends=True)[:2]))
    LOG.unlink(missing_ok=True)
    _say("installing requirements.txt: a few minutes the first time")
    _pip(python, "-r", str(REQUIREMENTS))
    # Without build isolation: setuptools is there already, nothing more is fetched.
    _pip(python, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    STAMP.write_text(_wanted())
    _say(f"ready after {time.monotonic() - started:.0f} s")


def _pip(python, *what):
    """Run ``pip install``, a line for each thing worth knowing; exits where it fails."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
               "--progress-bar", "off", *what]
    lines = queue.Queue()
    with LOG.open("a") as log:
        child = subprocess.Popen(  # noqa: S603 - the command line above
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        reader = threading.Thread(target=_read, args=(child.stdout, log, lines), daemon=True)
        reader.start()
        try:
            _follow(lines)
            status = child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
            reader.join()
    if status != 0:
        tail = LOG.read_text().splitlines()[-15:]
        sys.exit("\n".join([*tail, f"pip could not install; all it said is in {LOG}"]))


def _read(stream, log, lines):
    for line in stream:
        log.write(line)
        lines.put(line)
    lines.put(None)


def _follow(lines):
    started = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=PATIENCE)
        except queue.Empty:
            _say(f"  … {time.monotonic() - started:.0f} s")
            continue
        if line is None:
            return
        collecting, downloading, unpacking = (
            pattern.match(line) for pattern in (_COLLECTING, _DOWNLOADING, _INSTALLING))
        if collecting:
            _say(f"  {collecting[1]}")
        elif downloading and float(downloading[2]) >= LARGE:
            _say(f"    downloading {downloading[1]}, {downloading[2]} MB")
        elif unpacking and "," in unpacking[1]:
            _say(f"  unpacking {unpacking[1].count(',') + 1} packages")


def _wanted():
    made_from = hashlib.sha256(REQUIREMENTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    return f"{sys.version_info[0]}.{sys.version_info[1]}\n{VENV}\n{made_from.hexdigest()}\n"


def _stamp():
    return STAMP.read_text() if STAMP.exists() else ""


def _say(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
