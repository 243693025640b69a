"""The `irs` command: what it prints, what it exits with, and what it does not import."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import irs
from irs import cli, errors, settings

HEAVY = ("boto3", "botocore", "obstore", "flask", "celery", "kombu", "pydantic", "torch", "numpy",
         "onnxruntime", "PIL", "rich", "structlog", "httpx")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is ours and on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, list(arguments), prog_name="irs")


def test_a_package_that_was_left_out_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)  # what import finds where it is not installed
    for name in [name for name in sys.modules if name.startswith("irs.simulate")]:
        monkeypatch.delitem(sys.modules, name)
    done = run("simulate", "--synthetic", "burst")
    assert done.exit_code == cli.CANNOT
    assert done.output.startswith("irs: this needs the package numpy, which is not installed;")


# -- start ------------------------------------------------------------------------------------
def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from irs import cli\n"
        "try:\n    cli.cli(['--help'], prog_name='irs')\n"
        "except SystemExit as exc:\n    assert exc.code == 0\n"
        f"sys.exit(repr([name for name in {HEAVY!r} if name in sys.modules]))")
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(irs.__file__).parent.parent,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "[]"
    assert "Usage: irs" in done.stdout


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "irs", "version", "--json"], capture_output=True,
                          cwd=Path(irs.__file__).parent.parent, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["irs"] == irs.__version__


def _verbs(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    yield above
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _verbs(command, *above, name)
        else:
            yield (*above, name)


@pytest.mark.parametrize("verb", [*_verbs(cli.cli)], ids=" ".join)
def test_every_verb_has_help(verb: tuple[str, ...]) -> None:
    shown = run(*verb, "--help")
    assert shown.exit_code == 0
    assert "..." not in shown.output.split("Commands:")[-1], "a summary was cut short"


# -- errors -----------------------------------------------------------------------------------
@pytest.mark.parametrize("verb", [("up",), ("model", "export"), ("classify", "a.jpg")])
def test_a_bad_setting_is_one_line(verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRS_PORT", "eighty")
    done = run(*verb)
    assert done.exit_code == cli.CANNOT
    (line,) = done.stderr.splitlines()
    assert line.startswith("irs: IRS_PORT: ")


@pytest.mark.parametrize(("raised", "code", "text"), [
    (errors.NotFound("no such bucket"), 2, "irs: no such bucket\n"),
    (PermissionError(13, "Permission denied", "/x"), 2, "irs: /x: Permission denied\n"),
    (KeyboardInterrupt(), 130, ""),
])
def test_errors_are_never_tracebacks(
        raised: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> settings.Settings:
        raise raised

    monkeypatch.setattr(settings, "build", build)
    done = run("up")
    assert (done.exit_code, done.stderr) == (code, text)


def test_usage_errors_exit_2() -> None:
    assert run("classify").exit_code == cli.CANNOT
    assert run("nonsense").exit_code == cli.CANNOT


# -- up ---------------------------------------------------------------------------------------
def test_up_warns_of_misspelt_settings_and_passes_its_code_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from irs.local import stack

    seen = []

    def up(loaded: settings.Settings, *, create: bool) -> int:
        seen.append((loaded.port, create))
        return 3

    monkeypatch.setattr(stack, "up", up)
    monkeypatch.setenv("IRS_PORT", "8123")
    monkeypatch.setenv("IRS_MAX_INSTANCE", "4")
    done = run("up", "--no-create")
    assert done.exit_code == 3
    assert seen == [(8123, False)]
    assert done.stderr == ("irs: warning: IRS_MAX_INSTANCE is no setting and has no effect; "
                           "did you mean IRS_MAX_INSTANCES?\n")


# -- settings.unknown -------------------------------------------------------------------------
def test_unknown_settings() -> None:
    known = dict.fromkeys(settings.names(), "1")
    assert settings.unknown(known) == []
    assert settings.unknown({"irs_port": "1", "HOME": "/", "IRSPORT": "1"}) == []
    assert settings.unknown({"IRS_INPUT_BUKET": "x", "IRS_COLOUR": "red"}) == [
        ("IRS_COLOUR", None), ("IRS_INPUT_BUKET", "IRS_INPUT_BUCKET")]


def test_unknown_settings_are_found_in_dotenv(tmp_path: Path) -> None:
    # The autouse fixture has made tmp_path the working directory.
    (tmp_path / ".env").write_text("IRS_PROT=8081\nOTHER=1\n")
    assert settings.unknown() == [("IRS_PROT", "IRS_PORT")]


# -- classify ---------------------------------------------------------------------------------
def test_classify_without_a_service(tmp_path: Path, closed_port: int) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(b"x")
    done = run("classify", str(image), "--url", f"http://127.0.0.1:{closed_port}")
    assert done.exit_code == cli.CANNOT
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"irs: nothing answers at http://127.0.0.1:{closed_port}")
    assert "irs up" in line


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port"])
def test_classify_refuses_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    done = run("classify", str(tmp_path / "a.jpg"), "--url", url)
    assert done.exit_code == cli.CANNOT
    assert done.stderr.startswith("irs: --url ")


# -- version ----------------------------------------------------------------------------------
def test_version_names_the_parts() -> None:
    assert run("version").output.splitlines()[0] == f"irs {irs.__version__}"
    assert {"python", "celery", "kombu", "torch"} <= json.loads(run("version", "--json").output).keys()
