"""The AWS emulator (MiniStack) as a process of ours: `Emulator` starts it, `main` is it.

MiniStack is started through this module rather than by its own command because it then
listens on a socket that we have bound (127.0.0.1 alone, no race for the port), fills the
gaps that `irs.local.ec2`, `irs.local.amis` and `irs.local.longpoll` name, saves while it
runs, and never touches a Docker daemon.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib.util
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from irs.errors import SettingsError, Unreachable
from irs.local import amis, children, ec2, longpoll, permissions
from irs.local.autosave import Autosave
from irs.local.children import Child

HOST = "127.0.0.1"
SERVICES = ("sqs", "s3", "sns", "ec2", "iam", "sts", "ssm", "autoscaling")
#: What a stack is made of besides (deploy/stack.yaml).
STACK = ("cloudformation", "elasticloadbalancing", "monitoring", "logs")
#: Those that keep state in memory; S3's bucket records, its objects are on disk already.
SAVED = ("sqs", "sns", "ec2", "s3", "iam")
#: Seconds: an import of MiniStack on a busy machine, with room.
START = 60.0
#: Seconds to finish requests and to save.
STOP = 15.0


class Emulator:
    """The emulator as a child process; a context manager.

    ``port`` 0 takes a free one; read `port` and `endpoint` after `start`. ``strict``: it makes
    stacks, verifies signatures, and refuses what IAM does not allow to others than the root
    user, whose key is ``test``.
    """

    def __init__(self, state: Path, *, port: int = 0, log: Path | None = None,
                 strict: bool = False) -> None:
        self.state = state
        self.port = port
        self._log = log or state / "emulator.log"
        self._options = ["--strict"] if strict else []
        self._child: Child | None = None

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{HOST}:{self.port}"

    @property
    def started(self) -> bool:
        """Whether there is a process, running or ended."""
        return self._child is not None

    @property
    def child(self) -> Child:
        """The process; raises `RuntimeError` before `start`."""
        if self._child is None:
            raise RuntimeError("the emulator has not been started")
        return self._child

    def start(self) -> None:
        """Return when it answers.

        Raises `errors.SettingsError` where the port is taken or the embedded cloud is not
        installed, and `errors.Unreachable` where the process ends or does not answer in time.
        """
        self.spawn()
        self.await_health()

    def spawn(self) -> Child:
        """Begin; raises `errors.SettingsError` as `start` does."""
        if importlib.util.find_spec("ministack") is None:
            raise SettingsError("the embedded cloud is not installed: pip install 'irs[local]', or set "
                                "IRS_AWS_ENDPOINT_URL")
        self.state.mkdir(parents=True, exist_ok=True)
        with bind(self.port) as listener:
            self.port = listener.getsockname()[1]
            self._child = children.spawn(
                "emulator",
                [sys.executable, "-m", "irs.local.emulator", "--fd", str(listener.fileno()),
                 "--port", str(self.port), "--state", str(self.state.resolve()), *self._options],
                log=self._log, env=children.base_env(), pass_fds=[listener.fileno()])
        return self._child

    def await_health(self) -> None:
        """Return when it answers; else it is killed, and `errors.Unreachable` raised."""
        try:
            self._await_health()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let it save and end; SIGKILL after `STOP` seconds."""
        if self._child is not None:
            self._child.stop(STOP)

    def kill(self) -> None:
        """SIGKILL at once."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _await_health(self) -> None:
        deadline = time.monotonic() + START
        while not _healthy(f"{self.endpoint}/_ministack/health"):
            code = self.child.wait(0.05)
            if code is not None:
                raise Unreachable(
                    f"the embedded cloud ended with exit code {code}; its log {self._log} ends:\n"
                    f"{self.child.tail()}")
            if time.monotonic() > deadline:
                raise Unreachable(f"the embedded cloud does not answer at {self.endpoint} after "
                                  f"{START:.0f} s; see {self._log}")


def bind(port: int, *, host: str = HOST, setting: str = "IRS_CLOUD_PORT") -> socket.socket:
    """A socket bound to ``host:port``; raises `errors.SettingsError`, which names ``setting``."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of the last run that the kernel still remembers are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
            # Not the port's fault: no such host, or no address of this machine.
            raise SettingsError(f"IRS_HOST={host}: {exc.strerror}; it names an address of this "
                                "machine, 127.0.0.1 or 0.0.0.0 for all of them") from None
        raise SettingsError(f"port {port} cannot be had ({exc.strerror}): choose another, "
                            f"for example {setting}={port + 1 if port < 65_535 else 8081}") from None
    return listener


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return answer.status == 200
    except OSError:
        return False


# -- the process itself -------------------------------------------------------------------

def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then save and end."""
    parser = argparse.ArgumentParser(prog="python -m irs.local.emulator")
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--state", type=Path, default=Path(".irs/cloud"))
    parser.add_argument("--fd", type=int, help="a bound socket that was inherited")
    parser.add_argument("--host", default=HOST, help="address to listen on: it asks nobody for a password")
    parser.add_argument("--name", default=HOST, help="what clients call this machine")
    parser.add_argument("--strict", action="store_true", help="stacks, and permissions enforced")
    options = parser.parse_args(argv)
    options.state.mkdir(parents=True, exist_ok=True)
    # MiniStack reads its configuration when it is imported.
    os.environ.update(_configuration(options.port, options.state.resolve(), options.name, options.strict))
    fd = options.fd if options.fd is not None else bind(options.port, host=options.host).detach()
    asyncio.run(_serve(fd, strict=options.strict))


def _configuration(port: int, state: Path, name: str, strict: bool) -> dict[str, str]:
    return {
        "GATEWAY_PORT": str(port), "BIND_HOST": HOST, "MINISTACK_HOST": name,
        "SERVICES": ",".join((*SERVICES, *(STACK if strict else ()))), "LOG_LEVEL": "WARNING",
        "AUTH": str(strict).lower(),
        "PERSIST_STATE": "1", "STATE_DIR": str(state / "state"),
        "S3_PERSIST": "1", "S3_DATA_DIR": str(state / "s3"),
        # No listeners besides ours, and a daemon address that does not exist: MiniStack
        # otherwise removes containers that it takes for its own.
        "SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": f"unix://{state / 'no-docker'}",
    }


async def _serve(fd: int, *, strict: bool) -> None:
    from ministack import app as ministack
    from ministack.core import persistence
    from ministack.services import ec2 as ministack_ec2
    from ministack.services import sqs as ministack_sqs

    from irs.local import serving

    ec2.complete(ministack_ec2)
    amis.complete(ministack_ec2)
    longpoll.complete(ministack_sqs)
    if strict:
        from ministack.core import iam_actions, iam_evaluator
        from ministack.services import tagging

        permissions.complete(ministack_ec2, tagging, iam_actions, iam_evaluator)

    async def save() -> None:
        # Copied here, on the loop that changes it; written in a thread, into a new file
        # that replaces the old one whole.
        found: dict[str, Any] = {
            name: state() for name, state in ministack._build_persistence_save_dict().items()
            if name in SAVED}
        await asyncio.to_thread(_write, persistence.save_state, found)

    await serving.serve(Autosave(longpoll.HangUp(ministack.app), save), fd)


def _write(save_state: Any, found: dict[str, Any]) -> None:
    for name, state in found.items():
        if state is not None:
            save_state(name, state)


if __name__ == "__main__":
    main()
