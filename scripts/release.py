"""What a release is made of: ``release.py wheel | locks | model``; docs/releases.md is the procedure.

`wheel` writes dist/irs-VERSION-py3-none-any.whl, the same bytes for the same commit. `locks`
writes docker/locks: every package of an image with the digest of its file. `model` exports
IRS_MODEL into dist/models, for the image of the CPU worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
MODELS = DIST / "models"
LOCKS = ROOT / "docker" / "locks"
#: Lock to the extra that it adds to what every installation has.
EXTRAS = {"base": "", "worker": "worker", "local": "local"}
_HEAD = """\
# Made by `make locks` from requirements.txt{extra}: wheels for CPython {python} on {machine} Linux.
# Not to be edited: pip refuses a file whose digest is another.
"""


def run(*command: str, **env: str) -> str:
    """A command's output; ends this one with its words where it fails."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, text=True,  # noqa: S603 - ours
                          stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} … failed with code {done.returncode}")
    return done.stdout


def epoch() -> str:
    """The commit's time in seconds: of everything that is made of it. A fixed one, outside of git."""
    found = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True,  # noqa: S607
                           capture_output=True, check=False)
    return found.stdout.strip() or "1764547200"


def wheel() -> Path:
    """dist/irs-VERSION-py3-none-any.whl, the only wheel there."""
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("*.whl"):
        old.unlink()
    # What an earlier build left there would be packed again, files that are gone too.
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    run(sys.executable, "-m", "pip", "wheel", "-qq", "--disable-pip-version-check", "--no-deps",
        "--no-build-isolation", "--wheel-dir", str(DIST), str(ROOT), SOURCE_DATE_EPOCH=epoch())
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    [made] = DIST.glob("*.whl")
    _dated(made)
    return made


def model() -> Path:
    """The exported model in dist/models, and nothing else there; its .sha256 file."""
    shutil.rmtree(MODELS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        said = run(sys.executable, "-m", "irs", "model", "export", "--json",
                   IRS_MODEL_DIR=scratch, PYTHONPATH=str(ROOT))
        graph = Path(json.loads(said)["path"])
        MODELS.mkdir(parents=True)
        for suffix in (".onnx", ".json", ".sha256"):
            shutil.copy(graph.with_suffix(suffix), MODELS)
            (MODELS / graph.with_suffix(suffix).name).chmod(0o644)
            _dated(MODELS / graph.with_suffix(suffix).name)
    return MODELS / graph.with_suffix(".sha256").name


def locks() -> None:
    """docker/locks, resolved anew within requirements.txt's pins."""
    made = wheel()
    LOCKS.mkdir(exist_ok=True)
    for name, extra in EXTRAS.items():
        wanted = f"irs[{extra}]" if extra else "irs"
        said = run(sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check",
                   "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", "-",
                   f"{wanted} @ {made.as_uri()}")
        report = json.loads(said)
        lines = sorted(
            f"{_plain(item['metadata']['name'])}=={item['metadata']['version']} "
            f"--hash=sha256:{item['download_info']['archive_info']['hashes']['sha256']}\n"
            for item in report["install"] if _plain(item["metadata"]["name"]) != "irs")
        here = report["environment"]
        head = _HEAD.format(extra=f", with the extra {extra}" if extra else "",
                            python=here["python_version"], machine=here["platform_machine"])
        (LOCKS / f"{name}.txt").write_text(head + "".join(lines), "utf-8")
        say(f"{LOCKS.name}/{name}.txt: {len(lines)} packages")


def digest(path: Path) -> str:
    """sha256, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _dated(path: Path) -> None:
    """Of the commit: what is made of it again is not taken for something new."""
    os.utime(path, (int(epoch()), int(epoch())))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def say(line: str) -> None:
    """A line of progress, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str]) -> int:
    """The verb named; exit code 2 for any other."""
    match list(argv):
        case ["wheel"]:
            made = wheel()
            say(f"{made.relative_to(ROOT)}  {made.stat().st_size:,} bytes  sha256:{digest(made)}")
        case ["model"]:
            say(model().read_text("utf-8").rstrip())
        case ["locks"]:
            locks()
        case _:
            sys.stderr.write("usage: release.py wheel | locks | model\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
