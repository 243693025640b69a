"""Send every file of some folders through the whole service and see that nothing breaks.

    python bench/corpus.py FOLDER… [--at-once N] [--json FILE]

Starts a cloud, a web tier and a worker, uploads each file in a request of its own, and asks
for the jobs that were not answered at once until each is final. Prints the answers by
status, what was not final, tracebacks in the logs, whether the worker is the same process as
before, and the peaks of memory. Exit code 1 unless every file got its own final answer, no
log has a traceback and no process has ended.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from client import call, upload
from service import Tiers

#: Seconds for one file from upload to final.
PATIENCE = 180.0


def final(url: str, path: Path) -> tuple[str, str | None]:
    """What became of one file: its status (``200``, ``415 unsupported_format`` …), and what is wrong."""
    deadline = time.monotonic() + PATIENCE
    try:
        status, answer = upload(url, uuid.uuid4().hex, path.read_bytes())
        outcome = answer["results"][0] if "results" in answer else answer
        while outcome["status"] == "queued" and time.monotonic() < deadline:
            _, outcome = call(url, "GET", f"/v1/images/{outcome['id']}", None, {"Prefer": "wait=20"})
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError) as exc:
        return "no answer", f"{path}: {exc!r}"
    if outcome["status"] == "queued":
        return "not final", f"{path}: still queued after {PATIENCE:g} s, id {outcome['id']}"
    code = (outcome.get("error") or {}).get("code")
    return f"{status} {code}" if code else str(status), None


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = sorted(p for folder in options.folders for p in folder.rglob("*") if p.is_file())
    if not files:
        parser.error("no files there")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, Tiers(Path(scratch)) as tiers:
        web, worker = tiers.web(), tiers.worker()
        before = {"web": web.memory(), "worker": worker.memory()}
        with ThreadPoolExecutor(options.at_once) as pool:
            outcomes = list(pool.map(lambda path: final(web.url, path), files))
        figures: dict[str, Any] = {
            "files": len(files), "seconds": round(time.monotonic() - began, 1),
            "answers": dict(sorted(collections.Counter(status for status, _ in outcomes).items())),
            "not_final": [wrong for _, wrong in outcomes if wrong],
            "tracebacks": sum(tier.log().count("Traceback") for tier in (web, worker)),
            "ended": [t.child.name for t in (web, worker) if t.child.poll() is not None],
        }
        for tier in (web, worker):
            if tier.child.poll() is None:
                figures[f"{tier.child.name}_mb"] = {
                    "before": before[tier.child.name], "peak": tier.memory("VmHWM"), "after": tier.memory()}
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 1 if figures["not_final"] or figures["tracebacks"] or figures["ended"] else 0


if __name__ == "__main__":
    sys.exit(main())
