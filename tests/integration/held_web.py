"""Run as a script: the web tier on fakes, behind its real server; its worker never answers.

Prints the port, and a line for each job that was sent.
"""

from __future__ import annotations

import sys

from irs import log
from irs import settings as settings_module
from irs.domain.jobs import Job
from irs.testing import MemoryListener, MemoryObjects, MemoryResults
from irs.web.app import create_app
from irs.web.server import WebServer, stopped_by_signals


def say(text: object) -> None:
    print(text, flush=True)


def send(job: Job, *, reply_to: str) -> None:
    say(job.id)


if __name__ == "__main__":
    log.configure("WARNING")
    settings = settings_module.build({"port": 0, "client_wait": 60.0, "drain_grace": float(sys.argv[1])})
    app = create_app(settings, objects=MemoryObjects(), records=MemoryObjects(), results=MemoryResults(),
                     listener=MemoryListener(), send=send, depth=lambda: 0, ready=lambda: None)
    server = WebServer(app, settings)
    with stopped_by_signals(server):
        say(server.port)
        server.run()
