"""Logs on their way: a real journal, the unit's own command, an outage, kill -9, `irs logs`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from irs.aws import clients
from irs.domain import jobs
from irs.local import role as role_module
from irs.local.metadata import Facts, MetadataServer
from irs.settings import Settings
from irs.shipping.entries import Entry
from irs.shipping.journal import Journal
from irs.testing.proxy import Answer, LoseReply, Proxy, Rule
from tests import unitfiles
from tests.journals import Written
from tests.processes import Process, environment, until

pytestmark = pytest.mark.integration

MACHINE = "i-0123456789abcdef0"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Written]:
    with Written(tmp_path / "journal") as written:
        yield written


@pytest.fixture
def settings(moto_cloud: Any) -> Settings:
    """With a log group that is there."""
    made: Settings = moto_cloud.fresh(log_group=f"/irs/{moto_cloud.fresh().cluster}")
    clients.client(made, "logs").create_log_group(logGroupName=made.log_group)
    return made


@pytest.fixture
def proxy(moto_cloud: Any) -> Iterator[Proxy]:
    with Proxy(moto_cloud.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def start(tmp_path: Path, settings: Settings, proxy: Proxy, journal: Written
          ) -> Iterator[Callable[[], Process]]:
    """What the unit runs on an app instance, after irs-boot, with its cloud behind the proxy."""
    run, state = tmp_path / "run", tmp_path / "state"
    (run / "irs").mkdir(parents=True)
    with ExitStack() as stack:
        metadata = MetadataServer(Facts(
            instance_id=MACHINE, instance_type="c7i.large", ami="ami-00000000", region="us-east-1",
            tags={"irs:role": "app"}, user_data=f"IRS_LOG_GROUP={settings.log_group}\n",
            credentials=role_module.credentials(settings, MACHINE)))
        stack.callback(metadata.close)
        env = environment(settings.model_copy(update={"aws_endpoint_url": proxy.endpoint}),
                          IRS_METADATA_ENDPOINT=metadata.endpoint)
        subprocess.run(unitfiles.command("irs-boot", run), env=env, cwd=tmp_path, check=True, timeout=60)
        env |= unitfiles.environment("irs-logs", run)
        command = [word.replace("${SERVICE}", env["SERVICE"]).replace("/var/lib/irs-logs", str(state))
                   for word in unitfiles.command("irs-logs", run)]

        def start() -> Process:
            process = Process([*command, "--journal", str(journal.directory)], env, tmp_path)
            stack.callback(process.stop)
            return process

        yield start


def shown(settings: Settings, directory: Path) -> list[str]:
    """What `irs logs` says of workers."""
    done = subprocess.run(
        [sys.executable, "-m", "irs", "logs", "--json", "--service", "workers", "--since", "1h"],
        env=environment(settings), cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["source"] for line in found} <= {MACHINE}
    return [line["text"] for line in found]


def stored(settings: Settings) -> list[int]:
    """The numbers of the lines that are in CloudWatch."""
    found = clients.client(settings, "logs").filter_log_events(logGroupName=settings.log_group)
    return [line["n"] for event in found["events"] if "n" in (line := json.loads(event["message"]))]


def test_an_outage_a_kill_and_a_stop_lose_nothing(
        start: Callable[[], Process], settings: Settings, proxy: Proxy, journal: Written,
        tmp_path: Path) -> None:
    def fault(action: Any) -> Any:
        return proxy.add(Rule(service="logs", operations={"PutLogEvents"}, action=action))

    journal.raw("not one of ours", unit="ssh")
    journal.write(50)  # before anybody reads
    early = datetime.now(UTC) - timedelta(minutes=5)
    journal.raw(json.dumps({"event": "boot.told", "level": "info", "timestamp": jobs.stamp(early)}),
                unit="irs-boot", at=early)  # by a clock that was set back
    journal.write(50)
    first = start()
    until(lambda: len(stored(settings)) == 100)
    journal.write(20)
    until(lambda: len(stored(settings)) == 120)

    busy = fault(Answer(400, "ThrottlingException"))
    journal.write(60)
    until(lambda: busy.fired)
    away = fault(Answer(503))
    busy.clear()
    until(lambda: away.fired)
    (reader,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    first.popen.kill()
    first.popen.wait(10)
    until(lambda: not Path(f"/proc/{reader}").exists(), what="its journalctl has ended by itself")
    away.clear()

    lost = fault(LoseReply())
    second = start()
    until(lambda: lost.fired)
    second.popen.kill()  # it is taken, and nobody has written down that it was
    second.popen.wait(10)
    lost.clear()
    assert len(stored(settings)) > 120

    third = start()
    until(lambda: third.said("logs.shipping"))
    until(lambda: set(stored(settings)) == set(range(180)))
    assert third.stop() == 0

    journal.write(5)
    journal.boot = "cd"  # the machine went down with them
    journal.write(5)
    last = start()
    until(lambda: last.said("logs.shipping"))
    until(lambda: set(stored(settings)) == set(range(190)))
    journal.write(1)  # behind a place that was the journal's end
    until(lambda: 190 in stored(settings))
    journal.write(20)
    journal.raw("irs-worker.service: Failed with result 'signal'.", unit="irs-worker", transport="journal")
    assert last.stop() == 0
    assert [line["event"] for line in last.lines] == ["logs.shipping", "logs.stopped"]

    found = shown(settings, tmp_path)
    assert found.pop(0) == "boot.told"
    (died,) = [text for text in found if "Failed" in text]
    assert died == "irs-worker.service: Failed with result 'signal'. [systemd]"
    found.remove(died)
    assert list(dict.fromkeys(found)) == journal.lines, "all of them, in their order"
    again = {n for n, count in Counter(stored(settings)).items() if count > 1}
    assert again
    assert again <= set(range(120, 180)), "the batch whose answer was lost, and no other"


def test_where_the_place_is_gone_all_is_shipped(tmp_path: Path, events: list[Any]) -> None:
    """The journal was full or removed, and the clock set back: journalctl would show nothing for ever."""
    def read(directory: Path, after: str) -> list[Entry]:
        found, (never, other) = [], os.pipe()
        with Journal(after=after, follow=False, directory=directory) as source:
            while not source.ended:
                found += source.read(10, never)
        os.close(never)
        os.close(other)
        return found

    with Written(tmp_path / "old") as old:
        old.write(3)
    first, second, third = read(old.directory, "")
    assert read(old.directory, first.cursor) == [second, third]
    assert read(old.directory, third.cursor) == events == []
    with Written(tmp_path / "new") as new:
        new.boot = "cd"
        for word in ("a", "b"):
            new.raw(word, unit="irs-web", at=datetime.now(UTC) - timedelta(days=1))
    assert [entry.message for entry in read(new.directory, third.cursor)] == ["a", "b"]
    assert [(e["event"], e["place"]) for e in events] == [("logs.place_gone", third.cursor)]


def test_what_is_missing_is_one_line(settings: Settings, journal: Written, tmp_path: Path) -> None:
    def ship(*more: str, **env: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "irs", "logs", "ship", "--service", "web", "--once",
             "--journal", str(journal.directory), *more], env=environment(settings) | env, cwd=tmp_path,
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        return [line for line in done.stderr.splitlines() if not line.startswith("{")]

    (line,) = ship("--machine", "m", IRS_LOG_GROUP="/irs/nobody")
    assert line.startswith("irs: CloudWatch Logs group /irs/nobody, stream web/m: ")
    assert ship("--machine", "m", PATH=str(tmp_path)) == [
        "irs: no journalctl here: `irs logs ship` reads the journal of systemd"]
