"""The three tiers, booted of one image: an upload, and what systemd does about a crash, a hang, a stop."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from ami_cloud import BASE, LOGS, UNITS, Cloud, until
from nspawn import Booted
from release import say
from try_images import upload

from irs.aws.fleet import Fleet
from irs.cli.loglines import Lines
from irs.scaler import userdata

#: What each part's process says last.
LAST = {"app": ("worker.draining", "worker.stopped"), "web": ("web.draining", "web.stopped"),
        "scaler": ("scaler.stopped",)}


def serve(cloud: Cloud, root: Path) -> None:
    """The three tiers of one image: an upload, and what systemd does about a crash, a hang, a stop."""
    data = userdata.build(cloud.settings) + f"IRS_PORT={cloud.settings.port}\nIRS_REUSE=off\n"
    fleet = Fleet(cloud.settings)
    with ExitStack() as stack:
        ids = {part: cloud.launch(part) for part in ("web", "scaler")}
        web = cloud.boot(stack, "web", ids["web"], root, data)
        scaler = cloud.boot(stack, "scaler", ids["scaler"], root,
                            data + f"IRS_MAX_INSTANCES=1\nIRS_MIN_INSTANCES=1\nIRS_AMI={BASE}\n")
        [launched] = until(scaler, "the scaler launches an instance",
                           lambda: [i for i in fleet.describe() if i.active])
        ids["app"] = launched.id
        app = cloud.boot(stack, "app", launched.id, root, fleet.user_data(launched.id))
        result, seconds = upload(cloud.settings.port)
        if result["instance"] != launched.id:
            sys.exit(f"classified by {result['instance']}, not by {launched.id}")
        say(f"{result['result']} after {seconds:.1f} s, by {launched.id} that the scaler has launched")
        told(cloud, web, ids, result["id"], {"job.accepted", "web.answered"})
        told(cloud, app, ids, result["id"], {"job.finished"})
        for machine in (web, scaler, app):
            fenced(machine)
        doctor(app)
        crash(app)
        hang(web)
        stop(app, cloud.settings.port)
        app.run("systemctl", "start", UNITS["app"])
        for machine in (app, scaler, web):
            end(cloud, machine, ids[machine.name])


def told(cloud: Cloud, machine: Booted, ids: dict[str, str], job: str, events: set[str]) -> None:
    """What a machine writes of a job is in `irs logs` while it runs."""
    began = time.monotonic()
    until(machine, f"irs logs has {', '.join(events)} of {job}", lambda: events == {
        text.partition(" ")[0] for text in cloud.logs(ids[machine.name]) if job in text}, 20)
    say(f"{machine.name}: irs logs has {' and '.join(sorted(events))} of the job, "
        f"{time.monotonic() - began:.1f} s later")


def fenced(machine: Booted) -> None:
    """What the kernel says of the tier's processes, and that no other tier's unit runs."""
    unit = UNITS[machine.name]
    for part, other in UNITS.items():
        state = machine.show(other, "ActiveState")["ActiveState"]
        if (state == "active") is not (part == machine.name):
            sys.exit(f"{machine.name}: {other} is {state}")
    users = [_user(machine, name) for name in (unit, LOGS)]
    say(f"{machine.name}: {unit} runs as user {users[0]}, {LOGS} as {users[1]}, no capability, system "
        "calls filtered, nothing to write; the other units are skipped")


def _user(machine: Booted, unit: str) -> str:
    """Whose a unit's process is, which is fenced."""
    pid = machine.show(unit, "MainPID")["MainPID"]
    said = machine.run("cat", f"/proc/{pid}/status")[1]
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    found = (status["CapBnd"].strip("0"), status["NoNewPrivs"], status["Seccomp"])
    if found != ("", "1", "2") or status["Uid"].split()[0] == "0":
        sys.exit(f"{unit} is not fenced: {said}")
    touched = machine.run("nsenter", f"--target={pid}", "--mount", "touch", "/opt/irs/x", "/etc/x",
                          "/usr/x")
    if touched[0] == 0 or touched[1].count("Read-only") != 3:
        sys.exit(f"{unit} may write: {touched[1]}")
    return status["Uid"].split()[0]


def doctor(machine: Booted) -> None:
    """`irs doctor` with the settings that the unit has."""
    code, said = machine.run("systemd-run", "--quiet", "--wait", "--pipe",
                             "--property=EnvironmentFile=/run/irs/app",
                             "--setenv=IRS_MODEL_DIR=/opt/irs/models", "/opt/irs/bin/irs", "doctor")
    if code:
        sys.exit(f"irs doctor on {machine.name} ended with code {code}:\n{said}")
    say(f"{machine.name}: irs doctor finds nothing wrong, {len(said.splitlines())} lines")


def crash(machine: Booted) -> None:
    """SIGKILL: started again after two seconds."""
    unit = UNITS[machine.name]
    began = time.monotonic()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", unit)
    until(machine, f"{unit} is started again", lambda: machine.show(
        unit, "NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"})
    say(f"SIGKILL: {unit} is ready again after {time.monotonic() - began:.1f} s")


def hang(machine: Booted) -> None:
    """A process that stands still: its watchdog ends it. Less patient than the unit, to save time."""
    unit = UNITS[machine.name]
    place = f"/run/systemd/system/{unit}.service.d"
    machine.run("sh", "-c", f"mkdir -p {place} && cd {place} && printf '[Service]\\nWatchdogSec=8\\n"
                            f"TimeoutAbortSec=2\\n' >try.conf && systemctl daemon-reload && "
                            f"systemctl restart {unit}")
    before = machine.show(unit, "NRestarts")["NRestarts"]
    time.sleep(10)  # longer than the watchdog's patience: fed, it does not bite
    if machine.show(unit, "NRestarts", "ActiveState") != {"NRestarts": before, "ActiveState": "active"}:
        sys.exit(f"{unit}'s watchdog bites though it is fed")
    began = time.monotonic()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGSTOP", unit)
    until(machine, f"{unit}'s watchdog bites", lambda: machine.show(
        unit, "NRestarts", "ActiveState") == {"NRestarts": str(int(before) + 1), "ActiveState": "active"})
    if "Watchdog timeout" not in machine.journal(unit):
        sys.exit(f"{unit} ended, and not by its watchdog:\n{machine.journal(unit)[-3000:]}")
    say(f"hanging: {unit}'s watchdog, of 8 s here, ended it; ready again after "
        f"{time.monotonic() - began:.1f} s")


def stop(machine: Booted, port: int) -> None:
    """`systemctl stop` while there is work: what it has taken it ends, then it ends itself."""
    unit = UNITS[machine.name]
    result, _ = upload(port)
    began = time.monotonic()
    machine.run("systemctl", "stop", unit)
    found = machine.show(unit, "ActiveState", "Result", "ExecMainStatus")
    if found != {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}:
        sys.exit(f"systemctl stop {unit}: {found}\n{machine.journal(unit)[-3000:]}")
    if not all(event in machine.journal(unit) for event in ("worker.draining", "worker.stopped")):
        sys.exit(f"{unit} did not drain:\n{machine.journal(unit)[-3000:]}")
    say(f"{result['result']}, then systemctl stop: {unit} drained and ended with code 0 after "
        f"{time.monotonic() - began:.1f} s")


def end(cloud: Cloud, machine: Booted, instance: str) -> None:
    """A shutdown, after which `irs logs` has all that the unit's journal had, and its last words."""
    unit = UNITS[machine.name]
    until(machine, f"{unit} is active", lambda: machine.active(unit))
    lines = Lines("", "")
    had = Counter(record.text for line in machine.journal(unit).splitlines()
                  for record in lines.feed(f"{line}\n".encode()))
    seconds = machine.power_off()
    # What systemd says is shipped as a line like ours, with its name.
    found = Counter(text.removesuffix(" [systemd]") for text in cloud.logs(instance))
    last = found - had
    stopped = [text for text in last if text.startswith(f"Stopped {unit}.service")]
    events = LAST[machine.name]
    heard = all(any(text.startswith(f"{event} ") for text in last) for event in events)
    if had - found or not heard or not stopped:
        sys.exit(f"{machine.name}: irs logs has not {had - found}; its last words are {sorted(last)}")
    say(f"{machine.name}: shut down after {seconds:.1f} s; irs logs has the {had.total()} lines of before, "
        f"and {', '.join((*events, *stopped))}")
