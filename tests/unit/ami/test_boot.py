"""What a machine of the image does first: it learns which part it is, and with which settings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from irs import errors
from irs.ami import boot
from irs.ami.boot import quoted, tell


class Told:
    """The metadata service; a value that is an exception is raised."""

    def __init__(self, *, role: object = "app", data: object = "") -> None:
        self.role, self.data = [role] if not isinstance(role, list) else role, data

    def get(self, path: str) -> str:
        assert path == "meta-data/tags/instance/irs:role"
        return self._answer(self.role.pop(0) if len(self.role) > 1 else self.role[0])

    def user_data(self) -> str:
        return self._answer(self.data)

    @staticmethod
    def _answer(value: Any) -> str:
        if isinstance(value, Exception):
            raise value
        return value


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "etc-irs"


def parameters(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[str]:
    asked: list[str] = []

    def text(settings: Any, name: str) -> str:
        asked.append(f"{name} in {settings.region}")
        return Told._answer(answer)

    monkeypatch.setattr(boot.parameters, "text", text)
    return asked


def test_an_app_instance_gets_its_user_data_and_asks_for_no_secrets(
        nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = parameters(monkeypatch, errors.AccessDenied("no"))
    assert tell(Told(data="IRS_CLUSTER=blue\n# c\n"), nowhere) == ("app", {"IRS_CLUSTER": "blue"})
    assert asked == []


def test_the_web_tier_gets_its_secrets_besides(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = parameters(monkeypatch, "IRS_API_KEYS=first:s3cret\n")
    told = Told(role="web", data="IRS_CLUSTER=blue\nIRS_REGION=eu-west-1\n")
    assert tell(told, nowhere)[1] == {
        "IRS_CLUSTER": "blue", "IRS_REGION": "eu-west-1", "IRS_API_KEYS": "first:s3cret"}
    assert asked == ["/irs/blue/web in eu-west-1"]
    parameters(monkeypatch, errors.NotFound("none"))
    assert "IRS_API_KEYS" not in tell(told, nowhere)[1]


def test_a_web_tier_that_may_not_read_its_secrets_waits_and_serves_nobody(
        tmp_path: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    parameters(monkeypatch, errors.AccessDenied("not allowed"))
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            parameters(monkeypatch, "IRS_API_KEYS=a:b")

    assert boot.boot(tmp_path, Told(role="web"), told=nowhere, sleep=sleep) == "web"
    assert pauses == [1, 2, 4, 8, 15, 15]
    assert [e["event"] for e in events] == ["boot.waits"] * 6 + ["boot.told"]
    assert (tmp_path / "web").read_text() == 'IRS_API_KEYS="a:b"\n'
    assert (tmp_path / "web").stat().st_mode & 0o777 == 0o600


def test_metadata_that_are_late_are_waited_for(tmp_path: Path, nowhere: Path) -> None:
    told = Told(role=[errors.Unreachable("not yet"), errors.Unreachable("not yet"), "scaler"])
    assert boot.boot(tmp_path, told, told=nowhere, sleep=lambda _: None) == "scaler"
    assert [path.name for path in tmp_path.iterdir()] == ["scaler"]


@pytest.mark.parametrize(("told", "why"), [
    (Told(role=errors.NotFound("no")), "no tag irs:role, or its metadata does not show tags"),
    (Told(role="ami-build"), "irs:role is 'ami-build', not one of app, web, scaler"),
    (Told(data="rm -rf /"), "user data line 1 is not IRS_NAME=value"),
])
def test_a_machine_that_is_no_part_of_it_is_told_so(told: Told, why: str, tmp_path: Path,
                                                    nowhere: Path) -> None:
    with pytest.raises(errors.SettingsError, match=why):
        boot.boot(tmp_path, told, told=nowhere)
    assert list(tmp_path.iterdir()) == []


def test_who_ships_logs_is_told_where_to_and_no_secret(
        tmp_path: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters(monkeypatch, "IRS_API_KEYS=first:s3cret\n")
    for role, data, service in (("web", "", None), ("web", "IRS_LOG_GROUP=\n", None),
                                ("web", "IRS_LOG_GROUP=/irs/a\nIRS_CLUSTER=a\n", "web"),
                                ("app", "IRS_REGION=eu-west-1\nIRS_LOG_GROUP=/irs/a\n", "workers"),
                                ("scaler", "IRS_LOG_GROUP=/irs/a\n", "scaler")):
        boot.boot(tmp_path, Told(role=role, data=data), told=nowhere)
        told = (tmp_path / "logs").read_text().splitlines() if (tmp_path / "logs").exists() else []
        region = ['IRS_REGION="eu-west-1"'] if role == "app" else []
        assert told == ([*region, 'IRS_LOG_GROUP="/irs/a"', f'SERVICE="{service}"'] if service else [])
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o600


def test_a_broken_parameter_is_named(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters(monkeypatch, "API_KEYS=a:b")
    with pytest.raises(errors.SettingsError, match="parameter /irs/irs/web, line 1 is not IRS_NAME"):
        tell(Told(role="web"), nowhere)


def test_what_cloud_init_left_comes_first(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere.mkdir()
    (nowhere / "role").write_text("scaler\n")
    (nowhere / "settings").write_text("IRS_CLUSTER=green\n")
    assert tell(Told(role="app", data="#cloud-config\n"), nowhere) == ("scaler", {"IRS_CLUSTER": "green"})


def test_values_reach_a_process_as_they_are(tmp_path: Path) -> None:
    value = """a "b" $HOME `id` \\ 'c' #d"""
    assert quoted({"IRS_A": value}) == 'IRS_A="a \\"b\\" \\$HOME \\`id\\` \\\\ \'c\' #d"\n'
    # In double quotes a shell takes the same four for special.
    done = subprocess.run(["sh", "-c", f'{quoted({"IRS_A": value})}printf %s "$IRS_A"'],
                          text=True, capture_output=True, check=True)
    assert done.stdout == value


def test_the_command_line_says_in_one_line_what_is_wrong(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(boot, "Metadata", lambda _endpoint: Told(role="database"))
    assert boot.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "irs: irs:role is 'database', not one of app, web, scaler")


def test_a_document_s_settings_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "role").write_text("web\n")
    with pytest.raises(errors.SettingsError, match=r"settings cannot be read: .*No such file"):
        tell(Told(), tmp_path)
    (tmp_path / "settings").write_bytes(b"IRS_CLUSTER=\xff\n")
    with pytest.raises(errors.SettingsError, match="settings cannot be read: 'utf-8'"):
        tell(Told(), tmp_path)
