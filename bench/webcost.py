"""What an upload costs the web tier: its processor time and its memory, without a worker's.

    python bench/webcost.py [PHOTO…] [--images N] [--at-once N] [--rounds N]
                            [--against DIRECTORY] [--json FILE]

A cloud, a web tier, and in this process a stand-in for the workers, which takes each task and
answers it at once with a result made up: stored and announced as a worker's is. Told are the
web tier's milliseconds of processor time an upload by ``/proc`` (in the program, in the kernel),
the emulator's, and the web tier's memory before all of it, after it, and a moment later.

``--against`` is another checkout of the service, whose web tier runs beside this one's on the
same cloud; rounds alternate between the two, so that a machine that grows slower does so for
both. Exit code 1 where an upload was not answered with 200. Linux only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from client import form, request
from efficiency import photographs
from service import Tier, Tiers, in_memory, verdict

from irs.audit import letters
from irs.aws.queues import Queue
from irs.domain.jobs import InputInfo, ModelInfo, Prediction, Result, Status
from irs.results.announce import Announcer
from irs.results.store import ResultStore
from irs.settings import Settings

_TICKS = os.sysconf("SC_CLK_TCK")
#: Seconds without a request after which memory is looked at once more: a beat of the server's
#: loop, at which it gives back what it does not need, and room.
QUIET = 12.0


class Answers:
    """Takes tasks from the input queue and answers them; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._queue = Queue(settings, settings.input_queue)
        self._results = ResultStore(settings)
        self._announcer = Announcer(settings, crowded=lambda: True)
        self._pool = ThreadPoolExecutor(8)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Answers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stopping.is_set():
            messages = self._queue.receive()
            for letter in self._pool.map(letters.read, messages):
                self._pool.submit(self._answer, letter)
            if messages:
                self._queue.delete_batch([message.receipt for message in messages])

    def _answer(self, letter: letters.Letter) -> None:
        if letter.job is not None:
            self._announcer.announce(self._results.write(_result(letter.job.id, letter.job.image)),
                                     letter.reply_to)


def _result(job_id: str, image: str) -> Result:
    """As long as a worker's."""
    return Result(
        id=job_id, image=image, status=Status.DONE, instance="i-0123456789abcdef0",
        predictions=tuple(Prediction(label=f"a label of class {n}", index=n, confidence=0.3 - n / 20)
                          for n in range(5)),
        model=ModelInfo(name="efficientnet_lite0", version="sha256:0123456789ab", engine="onnxruntime"),
        input=InputInfo(format="JPEG", width=500, height=375, sha256="0" * 64),
        times=dict.fromkeys(("received", "started", "finished"), "2026-11-25T12:00:00.000Z"))


def parts(tier: Tier) -> tuple[float, float]:
    """Milliseconds of processor time so far: in the program, in the kernel."""
    fields = Path(f"/proc/{tier.pid}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * int(fields[11]) / _TICKS, 1e3 * int(fields[12]) / _TICKS


def rounds(web: Tier, cloud: Tier, forms: list[Any], options: argparse.Namespace) -> dict[str, float]:
    """Upload so many, and what each of them took."""
    (user, kernel), emulator = parts(web), cloud.cpu()

    def one(number: int) -> int:
        body, headers = forms[number % len(forms)]
        return request(web.url, "POST", "/upload", body, headers)[0]

    with ThreadPoolExecutor(options.at_once) as pool:
        statuses = Counter(pool.map(one, range(options.images)))
    now = parts(web)
    return {"program": (now[0] - user) / options.images, "kernel": (now[1] - kernel) / options.images,
            "web": (sum(now) - user - kernel) / options.images,
            "cloud": 1e3 * (cloud.cpu() - emulator) / options.images,
            "not_200": options.images - statuses[200]}


def measure(options: argparse.Namespace, forms: list[Any]) -> list[dict[str, Any]]:
    """A row a web tier: the medians of its rounds."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(in_memory()))
        tiers = stack.enter_context(Tiers(scratch, max_waiting=2 * options.at_once, max_queue_wait=None))
        webs = {"web": tiers.web()}
        if options.against:
            root = options.against.absolute()
            webs[str(root)] = tiers.web(str(root / "web_entry.py"), PYTHONPATH=str(root))
        if options.worker:
            tiers.worker()
        else:
            stack.enter_context(Answers(tiers.settings))
        memory = {name: web.memory() for name, web in webs.items()}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in webs}
        for number in range(options.rounds + 1):
            for name, web in webs.items():
                figures = rounds(web, tiers.cloud, forms, options)
                if number:  # the first one warms up
                    taken[name].append(figures)
        after = {name: web.memory() for name, web in webs.items()}
        time.sleep(QUIET)  # the measurement itself: what a service left alone holds
        return [{"of": name, "mb_at_rest": memory[name], "mb": after[name],
                 "mb_most": web.memory("VmHWM"), "mb_left": web.memory(),
                 "not_200": sum(row["not_200"] for row in taken[name]),
                 **{what: statistics.median(row[what] for row in taken[name])
                    for what in ("web", "program", "kernel", "cloud")}}
                for name, web in webs.items()]


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=320, help="of each round")
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help="a real one, which takes the cores as well")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    forms = [form(f"{number}.jpg", photo) for number, photo in enumerate(photographs(options.photos))]
    rows = measure(options, forms)
    for row in rows:
        print(f"{row['web']:6.2f} ms an upload ({row['program']:.2f} in the program, {row['kernel']:.2f} "
              f"in the kernel), the emulator's {row['cloud']:.2f}; {row['mb_at_rest']:.0f} MB at rest, "
              f"{row['mb']:.0f} after, {row['mb_left']:.0f} when quiet, {row['mb_most']:.0f} at most: "
              f"{row['of']}")
    return verdict(rows, [f"{row['not_200']:.0f} uploads were not answered with 200: {row['of']}"
                          for row in rows if row["not_200"]], options.json)


if __name__ == "__main__":
    sys.exit(main())
