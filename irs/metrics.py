"""What the figures of all tiers have in common, in Prometheus's text form; a port for them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from irs import __version__, errors

# The time of each counter's making, as a series beside it: nobody's question, and half of a scrape.
prometheus_client.disable_created_metrics()


def registry() -> CollectorRegistry:
    """A new one, with what every process tells: its version, its memory, processor time and files."""
    made = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=made)
    Gauge("irs_build_info", "Always 1; the version is the label.", ["version"],
          registry=made).labels(__version__).set(1)
    return made


def wall(monotonic: float | None) -> float | None:
    """When that moment of `time.monotonic` was, in seconds since 1970, to the millisecond."""
    return None if monotonic is None else round(time.time() - (time.monotonic() - monotonic), 3)


def known(name: str, text: str, value: float | None) -> Iterator[Metric]:
    """A gauge that is left out while there is nothing to tell: no number stands for "unknown"."""
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


class Read(Collector):
    """Figures that are read when somebody asks; who has them knows nothing of it."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Prometheus's own protocol."""
        yield from self._read()


class Count(Protocol):
    """Of `irs.aws.calls.Count`, what is shown."""

    outcomes: dict[str, int]
    buckets: list[int]
    seconds: float


def cloud_calls(counts: Mapping[tuple[str, str], Count], bounds: Sequence[float]) -> Iterator[Metric]:
    """Calls to AWS; ``counts`` and ``bounds`` are those of `irs.aws.calls`."""
    made = CounterMetricFamily(
        "irs_aws_calls", "Calls to AWS by what came of them, the repeats of one by boto3 or obstore left "
        "out.", labels=["service", "operation", "outcome"])
    took = HistogramMetricFamily(
        "irs_aws_call_seconds", "Of a call to AWS, its repeats in it; a long poll takes what it waits.",
        labels=["service", "operation"])
    limits = [*(str(bound) for bound in bounds), "+Inf"]
    for key, count in sorted(counts.items()):
        for outcome, number in count.outcomes.items():
            made.add_metric([*key, outcome], number)
        took.add_metric([*key], list(zip(limits, accumulate(count.buckets), strict=True)), count.seconds)
    yield made
    yield took


def disk() -> Iterator[Metric]:
    """The disk on which bodies of requests and other temporary files are."""
    try:
        found = shutil.disk_usage(tempfile.gettempdir())
    except OSError:
        return  # the disk's own trouble, of which others tell
    yield GaugeMetricFamily("irs_temporary_disk_bytes", "Of the disk of temporary files.",
                            value=found.total)
    yield GaugeMetricFamily("irs_temporary_disk_free_bytes", "Those that are free.", value=found.free)


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
