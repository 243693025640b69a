"""HTTP for the embedded cloud: its ASGI application under uvicorn, on a socket that is bound already.

MiniStack's own server is hypercorn, which it loads, and mends, whoever serves it. Its HTTP is
Python's; uvicorn's is httptools', Node's parser in C: a fifth less of the emulator's processor
time an image (docs/decisions/0034).
"""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn

from irs.local.longpoll import App

#: Seconds that a connection without a request is kept: above the idle times of the clients'
#: pools, so that a pooled connection is not closed under a request.
IDLE = 300
#: Seconds for the requests in flight at the end. A long poll must not hold it up for its 20.
GRACE = 1


class Server(uvicorn.Server):
    """Until SIGTERM or SIGINT, of which each further one changes nothing: what is there is saved.

    uvicorn's own skips the application's shutdown at a second SIGINT, and sends itself the
    signal once more after it, to die of it.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The end may begin."""
        self.should_exit = True


async def serve(app: App, fd: int) -> None:
    """Serve ``app`` on the bound socket ``fd`` until a signal, then let it shut down."""
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="on", interface="asgi3",
        timeout_keep_alive=IDLE, timeout_graceful_shutdown=GRACE,
        # MiniStack keeps whose request it serves in context variables. Without this, one that
        # has made its connection read on would leave them to the connection's next.
        reset_contextvars=True,
        # It dates its answers, and says who asks by the connection alone.
        date_header=False, server_header=False, proxy_headers=False,
        # MiniStack has set the log up.
        log_config=None, log_level="warning", access_log=False)
    await Server(config).serve(sockets=[socket.socket(fileno=fd)])
