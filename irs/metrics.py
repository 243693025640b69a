"""Figures in Prometheus's text form, on a port of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server

from irs import errors


@contextlib.contextmanager
def served(registry: CollectorRegistry, host: str, port: int, setting: str) -> Iterator[int]:
    """``/metrics`` answers on ``port`` of ``host``, 0 for a free one; gives the port.

    Raises `errors.SettingsError`, which names the ``setting``, where the port cannot be had.
    """
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as exc:
        raise errors.SettingsError(f"{setting}: {host}:{port}: {exc}") from exc
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
