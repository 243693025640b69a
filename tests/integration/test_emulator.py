"""The embedded cloud keeps what it is given, and completes what a launch depends on."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import http.client
import importlib.util
import json
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from irs.aws import provision
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.errors import Permanent, SettingsError
from irs.local import children
from irs.local.emulator import Emulator, bind
from irs.settings import Settings, build
from tests.processes import until

pytestmark = pytest.mark.integration


def at(emulator: Emulator) -> Settings:
    return build({"aws_endpoint_url": emulator.endpoint, "aws_access_key_id": "test",
                  "aws_secret_access_key": "test", "poll_wait": 1})


def give(settings: Settings) -> str:
    """An object, a waiting message, one in flight, an instance; the instance's id."""
    provision.ensure(settings)
    Objects(settings, settings.input_bucket).put(
        "a/b.JPEG", b"\xff\xd8 bytes", metadata={"name": "größe"}, content_type="image/jpeg")
    queue = Queue(settings, settings.input_queue)
    queue.send("in flight")
    assert [m.body for m in queue.receive(1)] == ["in flight"]
    queue.send("waiting")
    instance = Fleet(settings).launch("AppTier-Instance-1", token="t-1", user_data="IRS_MODEL=x\n")
    return instance.id


def check_kept(settings: Settings, instance_id: str) -> None:
    assert all(f.ok and "creat" not in f.detail for f in provision.ensure(settings, create=False))
    assert Objects(settings, settings.input_bucket).get("a/b.JPEG") == b"\xff\xd8 bytes"
    queue = Queue(settings, settings.input_queue)
    depth = queue.depth()
    assert (depth.visible, depth.in_flight) == (1, 1)
    assert [m.body for m in queue.receive(10)] == ["waiting"]
    fleet = Fleet(settings)
    assert [(i.id, i.name, i.state) for i in fleet.describe()] == [
        (instance_id, "AppTier-Instance-1", "running")]
    assert fleet.user_data(instance_id) == "IRS_MODEL=x\n"
    assert fleet.shutdown_behavior(instance_id) == "terminate"
    again = fleet.launch("AppTier-Instance-1", token="t-1", user_data="IRS_MODEL=x\n")
    assert again.id == instance_id, "a repeated launch is recognised after a restart too"


def test_everything_is_there_after_a_stop(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator:
        instance_id = give(at(emulator))
    assert emulator.child.poll() == 0, emulator.child.tail()
    with Emulator(tmp_path, port=emulator.port) as emulator:
        check_kept(at(emulator), instance_id)


def test_everything_is_there_after_a_kill(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator:
        instance_id = give(at(emulator))
        saved = tmp_path / "state"
        # The send and the launch were the last changes, so a save that has them has all.
        until(lambda: all(
            (saved / f"{name}.json").exists() and text in (saved / f"{name}.json").read_text()
            for name, text in (("sqs", "waiting"), ("ec2", instance_id), ("s3", "input-bucket"))))
        emulator.kill()
    with Emulator(tmp_path, port=emulator.port) as emulator:
        check_kept(at(emulator), instance_id)


def test_a_repeated_client_token_is_one_instance(cloud: Any) -> None:
    settings = cloud.fresh()
    fleet = Fleet(settings)
    token = f"token-{settings.cluster}"
    first = fleet.launch("A-1", token=token, user_data="IRS_MODEL=é<&>\n")
    assert fleet.launch("A-1", token=token, user_data="IRS_MODEL=é<&>\n") == first
    assert [i.id for i in fleet.describe()] == [first.id]
    assert fleet.user_data(first.id) == "IRS_MODEL=é<&>\n"
    with pytest.raises(Permanent, match="token"):
        fleet.launch("A-2", token=token, user_data="IRS_MODEL=other\n")


def test_no_user_data_is_empty_user_data(cloud: Any) -> None:
    settings = cloud.fresh()
    fleet = Fleet(settings)
    instance = fleet.launch("A-1", token=f"token-{settings.cluster}", user_data="")
    assert fleet.user_data(instance.id) == ""


def test_a_send_wakes_a_long_poll(cloud: Any) -> None:
    """Left alone, MiniStack looks every 0.1 s: 0.05 s on average. The median of a few bears
    one slow answer of a busy machine."""
    settings = cloud.fresh(poll_wait=5)
    queue = Queue(settings, settings.input_queue)
    queue.create()
    delays: list[float] = []
    for _ in range(9):
        sent: list[float] = []
        # Later than the poll's begin, and at no multiple of MiniStack's own interval.
        timer = threading.Timer(0.13, lambda sent=sent: (sent.append(time.monotonic()), queue.send("x")))
        timer.start()
        (message,) = queue.receive(1)
        delays.append(time.monotonic() - sent[0])
        queue.delete_batch([message.receipt])
        timer.join()
    assert statistics.median(delays) < 0.03, delays


def test_a_poll_whose_client_has_gone_takes_no_message(cloud: Any) -> None:
    """A killed worker leaves its poll behind; the next upload must not wait for it to time out."""
    settings = cloud.fresh(poll_wait=20)
    queue = Queue(settings, settings.input_queue)
    queue.create({"VisibilityTimeout": "60"})
    body = json.dumps({"QueueUrl": queue.url, "WaitTimeSeconds": 20}).encode()
    host, port = cloud.endpoint.removeprefix("http://").split(":")
    dead = http.client.HTTPConnection(host, int(port))
    dead.request("POST", "/", body, {
        "X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request"})
    assert dead.sock is not None
    queue.depth()  # the emulator has turned to the poll before it answers this
    dead.sock.shutdown(socket.SHUT_RDWR)
    dead.close()
    queue.depth()  # and to its end before this
    queue.send("for somebody who lives")
    assert [m.body for m in queue.receive(1, wait=2)] == ["for somebody who lives"]


def test_it_listens_on_this_machine_alone(cloud: Any) -> None:
    port = int(cloud.endpoint.rpartition(":")[2])
    # Every address of 127/8 reaches a server that listens on 0.0.0.0.
    with contextlib.closing(socket.socket()) as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))


def test_a_taken_port_says_how_to_choose_another(tmp_path: Path) -> None:
    with bind(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} .*in use.*IRS_CLOUD_PORT={port + 1}"):
            Emulator(tmp_path, port=port).start()
    assert not list(tmp_path.glob("*.log")), "nothing was started"


def test_a_kill_of_its_starter_ends_it(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path)
    emulator.start()
    children.write_pid(tmp_path / "pid", emulator.child.pid)
    assert children.end_orphans([tmp_path / "pid"], grace=20) == [emulator.child.pid]
    assert emulator.child.wait(20) == 0


#: What `irs.local.ec2`, `.longpoll`, `.permissions` and `.emulator` were written against. When one of these
#: changes with a new MiniStack: read it again, see whether the gap is still there.
_READ = {
    "services/ec2.py": {
        "_run_instances": "d1fa3203976d", "_describe_instance_attribute": "acf149cd4630",
        "handle_request": "70c5d0156a84",
    },
    "app.py": {"_build_persistence_save_dict": "47f94a0e375a", "_load_persisted_state": "319c13dca650"},
    "services/sqs.py": {"_act_receive_message": "d81a13b58ed7", "_act_send_message": "2c22911d57a8",
                        "get_state": "dcfab97fc33e"},
    "services/tagging.py": {"resource_tags": "46b70ee3b72c"},
    "core/iam_actions.py": {"_action_from_target": "64054aff1239", "extract_iam_action": "1c5bf4bb7497"},
    "core/iam_evaluator.py": {"enforce": "fcf4e6146835"},
    "core/persistence.py": {"save_state": "fbf8358702eb", "load_state": "5f4b7c9ae0ae"},
}


def test_ministack_is_what_was_read() -> None:
    spec = importlib.util.find_spec("ministack")
    assert spec and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    found = {}
    for file, functions in _READ.items():
        text = (root / file).read_text()
        found[file] = {
            node.name: hashlib.sha256(
                (ast.get_source_segment(text, node) or "").encode()).hexdigest()[:12]
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in functions}
    assert found == _READ, json.dumps(found, indent=1)
