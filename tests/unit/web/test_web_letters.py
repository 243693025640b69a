"""Dead letters over HTTP: who may, what is shown, what is sent back."""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import threading
from typing import Any

import pytest
from PIL import Image

from irs import errors
from irs.audit.sweep import failure
from irs.domain.jobs import Status
from irs.testing import FakeClock, MemoryQueue
from irs.web import desk, thumbnails
from tests.unit.audit.auditkit import FOREIGN, done, job, message
from tests.unit.web.webkit import picture

LIST = "/v1/dead-letters"
REDRIVE = f"{LIST}/redrive"
OPERATOR, CLIENT = "operator-0123456789", "client-0123456789ab"


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{secret}".encode()).decode()}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


class Ward:
    """A service whose queues are in memory, and jobs that died in it."""

    def __init__(self, make: Any, **settings: Any) -> None:
        self.clock = FakeClock()
        self.dead = MemoryQueue("dead", clock=self.clock, visibility_timeout=30)
        self.work = MemoryQueue("work", clock=self.clock)
        self.service = make(dead=self.dead, work=self.work, **settings)
        # Each look is one of its own.
        self.service.app.extensions["irs"].desk._clock = self.ticking
        self.now = 0.0

    def ticking(self) -> float:
        self.now += desk.FRESH
        return self.now

    def bury(self, name: str = "cat.jpg", data: bytes | None = None, *, named: bool = True) -> Any:
        mine = job(name)
        self.service.objects.put(mine.key, picture() if data is None else data)
        self.dead.send(message(mine))
        self.clock.advance(1)
        if named:
            self.service.results.write(failure(mine, 5))
        return mine

    def get(self, path: str = LIST, **headers: str) -> Any:
        return self.service.client.get(path, headers=headers)

    def redrive(self, body: Any, headers: dict[str, str] | None = None) -> Any:
        return self.service.client.post(REDRIVE, data=json.dumps(body), headers=headers,
                                        content_type="application/json")


@pytest.fixture
def ward(make):
    return Ward(make)


# -- who may -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("settings", "headers", "status"), [
    # A laptop: whoever sits there.
    ({}, {}, 200),
    ({}, {"Host": "127.0.0.1:8080"}, 200),
    ({}, {"Host": "[::1]:8080"}, 200),
    ({"host": "localhost"}, {}, 200),
    # Another site's name that points here, and a proxy before it.
    ({}, {"Host": "evil.example"}, 403),
    ({}, {"Host": "127.0.0.1.evil.example"}, 403),
    ({}, {"Host": "localhost, evil.example"}, 403),
    ({}, {"X-Forwarded-For": "203.0.113.9"}, 403),
    ({}, {"Forwarded": "for=203.0.113.9"}, 403),
    # No laptop: an operator's key has to be set.
    ({"host": "0.0.0.0"}, {}, 403),
    ({"host": "irs.internal"}, {}, 403),
    ({"api_keys": f"a:{CLIENT}"}, {}, 403),
    ({"api_keys": f"a:{CLIENT}"}, bearer(CLIENT), 403),
    # It is.
    ({"operator_keys": f"o:{OPERATOR}"}, {}, 401),
    ({"operator_keys": f"o:{OPERATOR}"}, bearer("wrong-0123456789abcd"), 401),
    ({"operator_keys": f"o:{OPERATOR}"}, bearer(OPERATOR), 200),
    ({"operator_keys": f"o:{OPERATOR}"}, {**basic(OPERATOR), "Host": "irs.example"}, 200),
    ({"operator_keys": f"o:{OPERATOR}"}, {"X-API-Key": OPERATOR}, 200),
    ({"operator_keys": f"o:{OPERATOR}", "api_keys": f"a:{CLIENT}"}, bearer(CLIENT), 401),
    ({"operator_keys": f"o:{OPERATOR}", "api_keys": f"a:{CLIENT}", "host": "0.0.0.0"},
     bearer(OPERATOR), 200),
])
def test_dead_letters_are_an_operators(make, settings, headers, status):
    ward = Ward(make, **settings)
    mine = ward.bury()
    thumbnail = f"{LIST}/{mine.id}/thumbnail"
    assert [ward.get(path, **headers).status_code for path in (LIST, thumbnail)] == [status] * 2
    assert ward.redrive({"all": True}, headers).status_code == status
    assert len(ward.work.bodies()) == (status == 200)


def test_the_refusal_says_which_setting(make):
    for settings in ({"host": "0.0.0.0"}, {"api_keys": f"a:{CLIENT}"}):
        answer = Ward(make, **settings).get(**bearer(CLIENT))
        assert answer.content_type == "application/problem+json"
        assert "set IRS_OPERATOR_KEYS=name:secret" in answer.json["detail"]
        assert "\n" not in answer.json["detail"]


def test_an_operators_key_opens_what_a_clients_does(make):
    service = make(operator_keys=f"o:{OPERATOR}", api_keys=f"a:{CLIENT}", api_rate=0.1)
    for _ in range(5):  # and has no rate
        assert service.client.get("/v1/stats", headers=basic(OPERATOR)).status_code == 200
        assert service.client.get("/dashboard", headers=basic(OPERATOR)).status_code == 200
    assert service.client.get("/v1/stats", headers=bearer("nobody-0123456789ab")).status_code == 401


def test_the_dashboard_is_an_operators_where_there_are_operators_keys(make):
    assert make().client.get("/dashboard").status_code == 200
    assert make(api_keys=f"a:{CLIENT}").client.get("/dashboard").status_code == 401
    assert make(api_keys=f"a:{CLIENT}").client.get("/dashboard", headers=basic(CLIENT)).status_code == 200
    service = make(operator_keys=f"o:{OPERATOR}")
    answer = service.client.get("/dashboard")
    assert answer.status_code == 401
    assert any(line.startswith("Basic") for line in answer.headers.getlist("WWW-Authenticate"))
    assert service.client.get("/dashboard", headers=basic(CLIENT)).status_code == 401
    assert service.client.get("/v1/stats").status_code == 200, "which is open as ever"


def test_the_document_tells_who_needs_a_key(make):
    service = make(operator_keys=f"o:{OPERATOR}")
    tree = service.client.get("/openapi.json").json
    assert "security" in tree["paths"][LIST]["get"]
    assert "security" not in tree["paths"]["/v1/stats"]["get"]


# -- another site's page -------------------------------------------------------------------------
@pytest.mark.parametrize(("headers", "status"), [
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Origin": "http://localhost"}, 200),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, 403),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "http://localhost:3000"}, 403),
    ({"Origin": "null"}, 403),
])
@pytest.mark.parametrize("keys", [False, True])
def test_another_sites_page_sends_nothing_back(make, headers, status, keys):
    ward = Ward(make, **({"operator_keys": f"o:{OPERATOR}"} if keys else {}))
    ward.bury()
    answer = ward.redrive({"all": True}, {**headers, **(basic(OPERATOR) if keys else {})})
    assert answer.status_code == status
    assert len(ward.work.bodies()) == (status == 200)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded",
                                  "multipart/form-data; boundary=x", ""])
def test_nor_does_a_form(ward, kind):
    ward.bury()
    answer = ward.service.client.post(REDRIVE, data=b'{"all": true}', content_type=kind)
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_format")
    assert ward.work.bodies() == []


# -- the list ------------------------------------------------------------------------------------
def test_the_newest_first_with_their_reasons(ward):
    first, second, third = ward.bury("a.jpg"), ward.bury("b.jpg", named=False), ward.bury("c.jpg")
    ward.dead.send(FOREIGN[0])
    told = ward.get().json
    assert (told["total"], told["partial"]) == (4, False)
    assert [row["image"] for row in told["letters"]] == [None, "c.jpg", "b.jpg", "a.jpg"]
    stranger, one, two, _ = told["letters"]
    assert (stranger["job"], stranger["thumbnail"], stranger["status"]) == (False, None, None)
    assert (one["id"], one["status"], one["attempts"]) == (third.id, "failed", 5)
    assert one["error"]["code"] == "dead_letter"
    assert one["thumbnail"] == f"{LIST}/{third.id}/thumbnail"
    assert (two["id"], two["status"], two["error"]) == (second.id, "queued", None)
    assert ward.dead.depth().visible == 4
    assert [row["id"] for row in ward.get(f"{LIST}?limit=4").json["letters"]][-1] == first.id


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1e9", "9" * 20])
def test_a_limit_that_is_none(ward, limit):
    answer = ward.get(f"{LIST}?limit={limit}")
    assert (answer.status_code, answer.json["detail"]) == (400, "limit is a number from 1 to 100")


def test_the_list_is_bounded(ward):
    for _ in range(110):
        ward.bury()
    assert len(ward.get().json["letters"]) == 50
    told = ward.get(f"{LIST}?limit=100").json
    assert (len(told["letters"]), told["total"]) == (100, 110)


def test_one_look_serves_everybody_for_a_while_and_no_longer_than_until_a_redrive(ward):
    ward.service.app.extensions["irs"].desk._clock = lambda: 0.0
    mine = ward.bury()
    assert ward.get().json["total"] == 1
    ward.bury()
    assert ward.get().json["total"] == 1
    ward.redrive({"ids": [mine.id]})
    assert ward.get().json["total"] == 1  # the other one, looked at anew
    assert ward.get().json["letters"][0]["id"] != mine.id


def test_a_cloud_that_fails_is_503(make):
    class Down(MemoryQueue):
        def depth(self):
            raise errors.Unreachable("no")

    service = make(dead=Down(), work=MemoryQueue())
    assert service.client.get(LIST).status_code == 503


# -- sending back --------------------------------------------------------------------------------
def test_one_goes_back_and_its_failure_is_gone(ward):
    mine, other = ward.bury(), ward.bury()
    told = ward.redrive({"ids": [mine.id.upper()]}).json
    assert told["outcomes"] == [{"id": mine.id, "fate": "sent", "message": "sent"}]
    assert (told["counts"]["sent"], told["more"]) == (1, False)
    assert ward.work.bodies() == [message(mine)]
    assert ward.service.results.read(mine.id) is None
    assert ward.service.client.get(f"/v1/images/{mine.id}").json["status"] == "queued"
    assert ward.service.results.read(other.id).status is Status.FAILED
    assert len(ward.service.app.extensions["irs"].cloud.upkeep.pending) == 1, "looked after"


def test_all_of_them_each_with_its_fate(ward):
    ward.service.app.extensions["irs"].desk._clock = lambda: 0.0
    ward.bury(), ward.bury()
    labelled = ward.bury(named=False)
    ward.service.results.write(done(labelled))
    ward.dead.send(FOREIGN[0])
    told = ward.redrive({"all": True}).json
    assert told["counts"] == {"sent": 2, "done": 1, "foreign": 1, "absent": 0, "failed": 0}
    assert ward.dead.bodies() == [FOREIGN[0]]
    again = ward.redrive({"ids": [labelled.id]}).json
    assert again["counts"]["absent"] == 1
    assert again["outcomes"][0]["message"] == "not among the dead letters"


def test_one_request_handles_so_many_and_says_that_there_are_more(ward, monkeypatch):
    monkeypatch.setattr(desk, "BATCH", 3)
    ward.service.app.extensions["irs"].desk._clock = lambda: 0.0
    for _ in range(5):
        ward.bury()
    told = ward.redrive({"all": True}).json
    assert (told["counts"]["sent"], told["more"]) == (3, True)
    assert ward.dead.depth().visible == 2, "what it did not come to is there for the next"
    told = ward.redrive({"all": True}).json
    assert (told["counts"]["sent"], told["more"]) == (2, False)


def test_one_request_takes_so_long(ward):
    for _ in range(5):
        ward.bury()
    told = ward.redrive({"all": True}).json  # each look at the clock is five seconds
    assert told["more"]
    assert 0 < told["counts"]["sent"] < 5


@pytest.mark.parametrize("step", ["depth", "receive"])
def test_a_fault_on_the_way_tells_what_was_done(make, step):
    ward = Ward(make)
    for _ in range(12):
        ward.bury()
    calls = []
    real = getattr(ward.dead, step)

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise errors.Unreachable("down")
        return real(*args, **kwargs)

    ward.service.app.extensions["irs"].desk._clock = lambda: 0.0
    setattr(ward.dead, step, failing)
    told = ward.redrive({"all": True})
    assert told.status_code == 200
    assert told.json["counts"]["sent"] == (12 if step == "depth" else 10)
    assert told.json["more"] is (step == "receive")


@pytest.mark.parametrize("body", [
    {}, {"ids": []}, {"ids": "x"}, {"ids": ["x"]}, {"ids": [1]}, {"all": False}, {"all": 1},
    {"all": True, "ids": []}, {"ids": ["0" * 36] * 1001}])
def test_a_wish_that_is_none(ward, body):
    ward.bury()
    answer = ward.redrive(body)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert ward.work.bodies() == []


def test_many_at_once_send_each_letter_once(ward):
    for _ in range(20):
        ward.bury()
    ward.service.app.extensions["irs"].desk._clock = lambda: 0.0
    told = []
    threads = [threading.Thread(target=lambda: told.append(ward.redrive({"all": True}).json))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one["counts"]["sent"] for one in told) == 20
    assert len(ward.work.bodies()) == 20


# -- thumbnails ----------------------------------------------------------------------------------
def photograph() -> bytes:
    """Top half red, EXIF with a place in it."""
    image = Image.new("RGB", (800, 400), (20, 40, 200))
    image.paste((200, 30, 30), (0, 0, 800, 200))
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
    exif[0x010E] = "at home"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_a_small_square_without_metadata(ward):
    mine = ward.bury(data=photograph())
    answer = ward.get(f"{LIST}/{mine.id}/thumbnail")
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert answer.headers["Cache-Control"] == "private, no-cache"
    with Image.open(io.BytesIO(answer.data)) as made:
        assert made.size == (160, 160)
        assert not made.getexif()
        assert made.getpixel((80, 30))[0] > 150 > made.getpixel((80, 130))[0]
    assert b"at home" not in answer.data


def test_it_is_made_once_and_sent_once(ward, monkeypatch):
    mine = ward.bury()
    where = f"{LIST}/{mine.id}/thumbnail"
    tag = ward.get(where).headers["ETag"]
    monkeypatch.setattr(thumbnails.subprocess, "run", None)  # not a second time
    assert ward.get(where).status_code == 200
    answer = ward.get(where, **{"If-None-Match": tag})
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == tag


@pytest.mark.parametrize("data", [
    b"\xff\xd8\xff" + bytes(100), b"no image at all", b"",
    photograph()[:2000], random.Random(1).randbytes(5000)])
def test_what_cannot_be_decoded_has_a_drawing(ward, data):
    mine = ward.bury(data=data)
    where = f"{LIST}/{mine.id}/thumbnail"
    answer = ward.get(where)
    assert (answer.status_code, answer.content_type) == (200, "image/svg+xml")
    assert b"<svg" in answer.data
    assert ward.get(where, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_so_has_an_image_that_is_gone_or_too_large(make):
    ward = Ward(make, max_image_bytes=1000)
    gone, large = ward.bury(), ward.bury(data=picture() + bytes(2000))
    ward.service.objects.delete(gone.key)
    for mine in (gone, large):
        assert ward.get(f"{LIST}/{mine.id}/thumbnail").content_type == "image/svg+xml"


def test_an_image_that_ends_its_decoder_ends_a_child(ward, monkeypatch, events):
    """As with a decoder that crashes: the child dies of a signal, and this process lives."""
    real = subprocess.run

    def killed(command, **options):
        return real(["/bin/sh", "-c", "kill -SEGV $$"], **options)

    monkeypatch.setattr(thumbnails.subprocess, "run", killed)
    mine = ward.bury()
    assert ward.get(f"{LIST}/{mine.id}/thumbnail").content_type == "image/svg+xml"
    assert [e["code"] for e in events if e["event"] == "web.thumbnail_failed"] == [-11]


def test_a_child_that_takes_too_long_is_killed(ward, monkeypatch, events):
    real = subprocess.run
    monkeypatch.setattr(thumbnails, "DEADLINE", 0.2)
    monkeypatch.setattr(thumbnails.subprocess, "run", lambda command, **options: real(
        ["/bin/sleep", "60"], **options))
    mine = ward.bury()
    assert ward.get(f"{LIST}/{mine.id}/thumbnail").content_type == "image/svg+xml"
    assert [e["event"] for e in events if e["event"] == "web.thumbnail_slow"]


def test_a_bomb_takes_no_memory_of_the_child(ward):
    """Pixels beyond the limit are refused from the header."""
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    mine = ward.bury(data=out.getvalue())
    assert ward.get(f"{LIST}/{mine.id}/thumbnail").content_type == "image/svg+xml"


def test_the_child_knows_nothing_of_ours(monkeypatch, make):
    seen = {}
    real = subprocess.run

    def watched(command, **options):
        seen.update(options)
        return real(command, **options)

    monkeypatch.setattr(thumbnails.subprocess, "run", watched)
    ward = Ward(make)
    mine = ward.bury()
    assert ward.get(f"{LIST}/{mine.id}/thumbnail").content_type == "image/jpeg"
    assert seen["env"] == {}


@pytest.mark.parametrize("state", ["no job", "queued", "done", "nonsense"])
def test_of_a_job_that_has_not_failed_there_is_none(ward, state):
    mine = job()
    if state != "no job":
        ward.service.objects.put(mine.key, picture())
    if state == "done":
        ward.service.results.write(done(mine))
    answer = ward.get(f"{LIST}/{'x' if state == 'nonsense' else mine.id}/thumbnail")
    assert (answer.status_code, answer.json["code"]) == (404, "unknown")
