"""The image's units: sound to systemd, fenced, and patient where the service needs patience."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from irs.ami.boot import ROLES
from irs.ami.document import script
from irs.aws import clients, logs
from irs.scaler.lease import RENEW
from irs.settings import Settings
from irs.shipping import shipper
from irs.worker.hearing import DEAF
from tests import unitfiles
from tests.services import program
from tests.unitfiles import NAMES, ROOT, UNITS

#: What the guide says of a unit's fence, on systemd's scale from 0 (none can be better) to 10.
EXPOSURE = re.search(r"exposure level ([\d.]+)", (ROOT / "docs" / "ami.md").read_text("utf-8"))


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with commands that are there."""
    directory = tmp_path_factory.mktemp("units")
    for path in UNITS.rglob("*.*"):
        if path.is_file():
            copy = directory / path.relative_to(UNITS)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(path.read_text("utf-8").replace("/opt/irs/bin/", "/bin/true #"))
    return directory


def analyze(units: Path, *words: str) -> str:
    done = subprocess.run([str(program("systemd-analyze", package="systemd")), *words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_COLORS": "0"})
    # Those that it does not know it leaves out: RestartSteps came with systemd 254.
    said = [line for line in done.stdout.splitlines()
            if not re.search(r"Unknown key(?: name)? 'Restart(Steps|MaxDelaySec)'", line)]
    assert done.returncode == 0, said
    return "\n".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong(units: Path, name: str) -> None:
    assert analyze(units, "verify", str(units / f"{name}.service")) == ""


def test_the_installation_s_own_check_ends_well_and_finds_a_command_that_is_missing(
        units: Path, tmp_path: Path) -> None:
    """Whichever systemd this is: with --recursive-errors=no an older one fails, see `analyze`."""
    [words] = re.findall(r"^\tsystemd-analyze (verify.*) /etc/systemd/system/irs-\*\.service$", script(),
                         flags=re.MULTILINE)
    analyze(units, *words.split(), *(str(units / f"{name}.service") for name in NAMES))
    unit = tmp_path / "irs-worker.service"
    unit.write_text((UNITS / "irs-worker.service").read_text("utf-8").replace("/opt/irs/bin/", "/no/such/"))
    with pytest.raises(AssertionError, match="/no/such/python is not executable"):
        analyze(units, *words.split(), str(unit))


@pytest.mark.parametrize("name", NAMES)
def test_units_are_fenced_as_the_guide_says(units: Path, name: str) -> None:
    assert EXPOSURE, "docs/ami.md says no exposure level"
    said = analyze(units, "security", "--offline=true", "--no-pager", str(units / f"{name}.service"))
    found = re.search(rf"Overall exposure level for {name}.service: ([\d.]+) ", said)
    assert found, said
    # Each version of systemd has its own scale; the guide's figure is Debian 12's.
    if analyze(units, "--version").startswith("systemd 252"):
        assert found[1] == EXPOSURE[1]
    assert float(found[1]) < 2


def test_a_drain_has_the_time_that_it_takes() -> None:
    grace = Settings.model_fields["drain_grace"].default
    for name in ("irs-worker", "irs-web", "irs-scaler"):
        # Half a minute for the poll under way, results and what a busy machine adds.
        assert float(unitfiles.value(name, "TimeoutStopSec")) >= grace + 30
        assert unitfiles.value(name, "KillMode") == "mixed"


def test_logs_are_stopped_last_and_keep_nobody_waiting() -> None:
    assert unitfiles.value("irs-logs", "Before").split() == [
        f"{name}.service" for name in NAMES if name not in ("irs-boot", "irs-logs")]
    # With notify the others would wait until it is ready.
    assert unitfiles.value("irs-logs", "Type") == "exec"
    assert float(unitfiles.value("irs-logs", "TimeoutStopSec")) > 2 * shipper.DRAIN
    # Tries of a call, each with its timeouts, and the longest pause between.
    call = logs.ATTEMPTS * (clients.CONNECT_TIMEOUT + clients.READ_TIMEOUT)
    assert float(unitfiles.value("irs-logs", "WatchdogSec")) > 2 * (call + shipper.PAUSE[1])
    # Told to stop in a call that stalls, it drains, and begins its last call when that is nearly over.
    assert float(unitfiles.value("irs-logs", "TimeoutStopSec")) > call + shipper.DRAIN + call


def test_watchdogs_are_more_patient_than_what_feeds_them() -> None:
    assert float(unitfiles.value("irs-worker", "WatchdogSec")) > DEAF
    assert float(unitfiles.value("irs-scaler", "WatchdogSec")) > 10 * RENEW
    for name in ("irs-worker", "irs-web", "irs-scaler"):
        assert unitfiles.value(name, "Type") == "notify"
        assert unitfiles.value(name, "Restart") == "always"


def test_each_part_waits_for_the_file_that_boot_writes() -> None:
    waited = {unitfiles.value(name, "ConditionPathExists") for name in NAMES[1:]}
    assert waited == {f"/run/irs/{part}" for part in (*ROLES, "logs")}
    for name in NAMES[1:]:
        assert unitfiles.read(name)["EnvironmentFile"] == [unitfiles.value(name, "ConditionPathExists")]
