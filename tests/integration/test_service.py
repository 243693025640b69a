"""The whole service on the embedded cloud: upload to label, and what goes wrong on the way."""

from __future__ import annotations

import io
import signal
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from irs.aws.queues import Queue
from irs.results.store import ResultStore
from tests.integration.conftest import Service, Web, Worker, until

pytestmark = pytest.mark.integration

#: What ImageNet calls scikit-image's photographs.
LABELS = {"chelsea": "tabby", "coffee": "espresso", "rocket": "missile"}


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud)


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web()


@pytest.fixture(scope="module")
def worker(service: Service) -> Worker:
    return service.worker()


def test_one_photograph_gets_its_label_as_one_plain_line(web, worker, photos):
    answer = web.upload(("coffee.jpg", photos["coffee"]))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text == "(coffee, espresso)\n"


def test_several_files_are_answered_in_upload_order(web, worker, photos):
    names = ["rocket", "coffee", "chelsea"]
    answer = web.upload(*[(f"{n}.jpeg", photos[n]) for n in names])
    lines = answer.text.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"({n}" for n in names]


def test_json_carries_the_whole_result_and_s3_holds_the_same(web, worker, service, photos):
    answer = web.upload(("coffee.jpg", photos["coffee"]), Accept="application/json")
    (result,) = answer.json["results"]
    assert (result["status"], result["label"], result["result"]) == (
        "done", "espresso", "(coffee, espresso)")
    assert len(result["predictions"]) == 5
    assert result["model"]["engine"] == "onnxruntime"
    assert (result["input"]["format"], result["input"]["width"]) == ("JPEG", 600)
    stored = ResultStore(service.settings).read(result["id"])
    assert stored is not None
    assert stored.as_dict() == result | {"schema": 1}
    status = web.call("GET", f"/v1/images/{result['id']}").json
    assert (status["status"], status["label"]) == ("done", "espresso")


def test_the_named_output_queue_announces_it_too(web, worker, service, photos):
    web.upload(("only-here.jpg", photos["coffee"]))
    queue = Queue(service.settings, service.settings.output_queue)

    def announced() -> bool:
        import json
        return any(json.loads(m.body)["result"] == "(only-here, espresso)"
                   for m in queue.receive(wait=1))

    until(announced, 15)


def _png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


REFUSALS = {
    "zeros": (b"\0" * 5000, 415),
    "text": (b"not an image at all", 415),
    "60 megapixels": (_png(10_000, 6_000), 413),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_one_line_with_its_status(web, case):
    data, status = REFUSALS[case]
    answer = web.upload(("x.jpg", data))
    assert answer.status == status
    assert answer.text.startswith("(x, error: ")
    assert answer.text.count("\n") == 1


def test_a_truncated_jpeg_is_422_and_harms_no_neighbour(web, worker, photos):
    cut = photos["coffee"][: len(photos["coffee"]) // 2]
    assert web.upload(("cut.jpg", cut)).status == 422
    both = web.upload(("cut.jpg", cut), ("good.jpg", photos["coffee"]))
    assert both.status == 200
    assert both.text.splitlines()[0].startswith("(cut, error: ")
    assert both.text.splitlines()[1] == "(good, espresso)"


def test_an_empty_form_is_400(web):
    answer = web.call("POST", "/upload", b"", {"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status, answer.text.count("\n")) == (400, 1)


def test_a_bomb_does_not_reach_the_decoder(web):
    # A header that promises 80 million rows, in a PNG of under a hundred bytes.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") + (80_000_000).to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert web.upload(("bomb.png", png)).status == 413


def test_a_hundred_at_once_each_get_their_own_answer(web, worker, photos):
    names = sorted(LABELS)
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(
            lambda n: web.upload((f"{names[n % 3]}_{n}.jpg", photos[names[n % 3]])), range(100)))
    assert [a.status for a in answers] == [200] * 100
    for n, answer in enumerate(answers):
        name, label = answer.text.strip("()\n").split(", ", 1)
        assert name == f"{names[n % 3]}_{n}"
        assert label == web_label(web, photos, names[n % 3])


_known: dict[str, str] = {}


def web_label(web: Web, photos: dict[str, bytes], name: str) -> str:
    """The label that the service gives this photograph when it comes alone."""
    if name not in _known:
        _known[name] = web.upload((f"{name}.jpg", photos[name])).text.strip("()\n").split(", ", 1)[1]
    return _known[name]


def test_not_ready_within_the_wait_is_202_and_the_same_job_goes_on(cloud, make_service, photos):
    service = make_service(cloud)
    web = service.web()
    answer = web.upload(("coffee.jpg", photos["coffee"]), Prefer="wait=0")
    assert answer.status == 202
    location = answer.headers["Location"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert web.call("GET", location).json["status"] == "queued"
    service.worker()
    done = web.call("GET", location, headers={"Prefer": "wait=30"}).json
    assert (done["status"], done["label"]) == ("done", "espresso")
    assert Queue(service.settings, service.settings.input_queue).depth().visible == 0


def test_two_web_processes_each_answer_their_own_clients_without_delay(cloud, make_service, photos):
    service = make_service(cloud)
    first, second = service.web(), service.web()
    worker = service.worker()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(
            lambda n: (first, second)[n % 2].upload((f"c{n}.jpg", photos["coffee"])), range(40)))
    assert [a.text for a in answers] == [f"(c{n}, espresso)\n" for n in range(40)]
    # A fallback to S3 would have been noted: each heard its own announcements.
    assert not first.said("web.announcement_missed")
    assert not second.said("web.announcement_missed")
    until(lambda: worker.output.count('"job.finished"') == 40, 10, "each done once")


def test_a_worker_killed_in_mid_work_is_replaced_and_no_upload_is_lost(cloud, make_service, photos):
    service = make_service(cloud, visibility_timeout=10)
    web = service.web()
    doomed = service.worker()
    answers: list = []

    def send() -> None:
        with ThreadPoolExecutor(30) as pool:
            answers.extend(pool.map(lambda n: web.upload((f"c{n}.jpg", photos["coffee"])), range(60)))

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: doomed.output.count('"job.finished"') >= 5, what="the first results")
    doomed.popen.send_signal(signal.SIGKILL)
    doomed.popen.wait(10)
    service.worker()
    sender.join(100)
    assert sorted(a.text for a in answers) == sorted(f"(c{n}, espresso)\n" for n in range(60))


def test_sigterm_lets_the_web_tier_answer_who_waits(cloud, make_service, photos):
    service = make_service(cloud, drain_grace=4)
    web = service.web()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(web.upload, ("coffee.jpg", photos["coffee"]))
        until(lambda: Queue(service.settings, service.settings.input_queue).depth().visible == 1)
        web.popen.terminate()
        answer = waiting.result(30)
    assert answer.status == 202
    assert answer.headers["Location"].startswith("/v1/images/")
    assert web.popen.wait(20) == 0


@pytest.mark.parametrize("path", ["/", "/upload"])
def test_the_page_is_a_form_for_several_files(web, path):
    page = web.call("GET", path)
    assert page.status == 200
    assert 'enctype="multipart/form-data"' in page.text
    assert "multiple" in page.text


def test_the_same_code_runs_against_a_moto_server(moto_cloud, make_service, photos):
    # moto's SNS delivers in process only; remote control is the embedded cloud's to test.
    service = make_service(moto_cloud, remote_control=False)
    web = service.web()
    service.worker()
    assert web.upload(("coffee.jpg", photos["coffee"])).text == "(coffee, espresso)\n"
