"""What traces cost: processor time an image of web tier and worker, recorded over not recorded.

    python bench/tracing.py [PHOTO…] [--images N] [--rounds N] [--json FILE]

Two services side by side on clouds of their own, one with ``IRS_TRACES`` to a receiver that
takes everything, ``IRS_TRACE_SHARE`` 1. Rounds of uploads, 16 at once, alternate between
them; each round's processor time is that of the tiers' own processes, by ``/proc``. Prints
the medians in ms an image and their ratios, and the spans an image. Exit code 1 where traces
cost more than `MOST`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from client import upload
from efficiency import photographs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from service import Tier, Tiers, in_memory, until, verdict

#: What must hold: processor time of both tiers together, recorded over not recorded.
MOST = 1.15
#: Uploads at once.
AT_ONCE = 16


class Sink(ThreadingHTTPServer):
    """An OTLP receiver that keeps bodies and looks at them when all is over."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def spans(self) -> int:
        """So far."""
        return sum(len(scope.spans) for body in list(self.bodies)
                   for resource in ExportTraceServiceRequest.FromString(body).resource_spans
                   for scope in resource.scope_spans)


class _Handler(BaseHTTPRequestHandler):
    server: Sink
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def rounds(tiers: dict[str, Tier], files: list[bytes], images: int) -> dict[str, float]:
    """Upload so many; ms of processor time an image, by tier."""
    before = {name: tier.cpu() for name, tier in tiers.items()}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = set(pool.map(lambda n: upload(tiers["web"].url, "a.jpg", files[n % len(files)])[0],
                                range(images)))
    if statuses != {200}:
        raise RuntimeError(f"uploads answered {statuses}")
    return {name: 1e3 * (tier.cpu() - before[name]) / images for name, tier in tiers.items()}


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = photographs(options.photos)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        stack.callback(sink.shutdown)
        kinds = {}
        for kind, more in (("off", {}), ("on", {"traces": f"http://127.0.0.1:{sink.server_port}"})):
            scratch = stack.enter_context(in_memory())
            tiers = stack.enter_context(Tiers(Path(scratch), **more))
            kinds[kind] = {"web": tiers.web(), "worker": tiers.worker()}
        taken = {kind: [] for kind in kinds}
        for number in range(options.rounds + 1):
            for kind, each in kinds.items():
                figures = rounds(each, files, options.images)
                if number:  # the first one warms up
                    taken[kind].append(figures)
        images = (options.rounds + 1) * options.images
        until(lambda: sink.spans >= 10 * images, 20, "the last spans")
        spans = sink.spans / images
    found = {f"{tier} {kind}": statistics.median(each[tier] for each in taken[kind])
             for kind in taken for tier in ("web", "worker")}
    found["spans an image"] = spans
    for tier in ("web", "worker"):
        print(f"{tier:7} {found[f'{tier} off']:6.2f} ms an image; recorded {found[f'{tier} on']:6.2f}, "
              f"{found[f'{tier} on'] / found[f'{tier} off']:.3f} of it")
    ratio = sum(found[f"{tier} on"] for tier in ("web", "worker")) / sum(
        found[f"{tier} off"] for tier in ("web", "worker"))
    found["ratio"] = ratio
    print(f"both    {ratio:.3f}; {spans:.1f} spans an image")
    return verdict(found, [f"traces cost {ratio:.3f}, {MOST:g} may be"] * (ratio > MOST), options.json)


if __name__ == "__main__":
    sys.exit(main())
