from __future__ import annotations

import base64
import io
import time

import pytest

from irs import errors
from irs import settings as settings_module
from irs.web.estimates import Estimates
from tests.unit.web.webkit import picture

ME, YOU = "0123456789abcdef", "fedcba9876543210"
KEYS = f"me:{ME}, you:{YOU}"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def basic(secret: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{secret}".encode()).decode()


def aws(key_id: str) -> str:
    return (f"AWS4-HMAC-SHA256 Credential={key_id}/20261125/us-east-1/rekognition/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00ff")


# -- keys ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("headers", "status"), [
    ({"Authorization": f"Bearer {ME}"}, 200),
    ({"Authorization": f"bearer  {YOU} "}, 200),
    ({"X-API-Key": YOU}, 200),
    ({"Authorization": basic(ME)}, 200),
    ({"Authorization": aws(ME)}, 200),
    ({"Authorization": aws(ME[:-1])}, 401),
    ({}, 401),
    ({"X-API-Key": ""}, 401),
    ({"X-API-Key": ME[:-1]}, 401),
    ({"X-API-Key": ME + "0"}, 401),
    ({"X-API-Key": f"me:{ME}"}, 401),
    ({"X-API-Key": "me"}, 401),
    ({"X-API-Key": YOU.upper()}, 401),
    ({"Authorization": "Bearer"}, 401),
    ({"Authorization": "Bearer \xff\xfe"}, 401),
    ({"Authorization": "Basic !!!"}, 401),
    ({"Authorization": "Basic " + base64.b64encode(ME.encode()).decode()}, 401),
    ({"Authorization": f"Digest {ME}"}, 401),
    ({"Authorization": f"Bearer {ME}", "X-API-Key": "wrong"}, 401),
])
def test_a_key_opens_every_route(make, headers, status):
    service = make(api_keys=KEYS)
    paths = ("/", "/upload", "/metrics", "/v1/images/x", "/nothing")
    seen = [service.client.get(path, headers=headers).status_code for path in paths]
    assert seen == ([200, 200, 200, 404, 404] if status == 200 else [401] * 5)
    data = {"myfile": (io.BytesIO(picture()), "a.jpg")}
    assert service.client.post("/upload", data=data, headers=headers).status_code == status
    assert len(service.sent) == (status == 200)


@pytest.mark.parametrize("text", [
    "Credential=/" * 2600, "Credential=," * 2600, "Credential=" + "/" * 30_000,
    "Credential=" + "a/" * 15_000, "Credential=a" + "/a" * 15_000 + "/"])
def test_no_header_holds_the_loop_up(make, text):
    service = make(api_keys=KEYS)
    began = time.process_time()
    answer = service.client.get("/metrics", headers={"Authorization": f"AWS4-HMAC-SHA256 {text}"})
    assert answer.status_code == 401
    assert time.process_time() - began < 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/static/style.css"])
def test_a_load_balancer_and_a_style_sheet_need_no_key(make, path):
    with make(api_keys=KEYS).client.get(path) as answer:
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["//metrics", "/static", "/static/../metrics", "/static//metrics",
                                  "/healthz/../metrics", "/%2e/metrics", "/METRICS"])
def test_no_spelling_of_a_route_opens_it(make, path):
    answer = make(api_keys=KEYS).client.get(path, follow_redirects=True)
    assert "irs_build_info" not in answer.text
    assert answer.status_code in (401, 404)


def test_a_stranger_is_told_how_to_come_in_and_a_browser_asks_for_a_password(make):
    service = make(api_keys=KEYS)
    answer = service.client.get("/v1/images/x")
    assert (answer.json["code"], answer.mimetype) == ("unauthorized", "application/problem+json")
    # A line each: Chromium reads no further than the first scheme of a line.
    schemes = [line.partition(" ")[0] for line in answer.headers.getlist("WWW-Authenticate")]
    assert schemes == ["Bearer", "Basic"]
    assert ME not in answer.text
    page = service.client.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.mimetype) == (401, "text/html")


@pytest.mark.parametrize(("site", "status"), [
    (None, 200), ("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)])
def test_another_sites_page_cannot_use_a_browsers_password(make, site, status):
    service = make(api_keys=KEYS)
    headers = {"Authorization": basic(ME), **({"Sec-Fetch-Site": site} if site else {})}
    assert service.post(("a.jpg", picture()), headers=headers).status_code == status
    # A program's own header is not sent by browsers on their own.
    headers["Authorization"] = f"Bearer {ME}"
    assert service.post(("a.jpg", picture()), headers=headers).status_code == 200


def test_the_comparison_is_constant_in_time_and_looks_at_every_key(make, monkeypatch):
    import hmac

    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr("irs.apikeys.hmac.compare_digest", lambda a, b: compared.append(a) or real(a, b))
    service = make(api_keys=KEYS)
    for secret in (ME, YOU, "nobody's"):
        compared.clear()
        service.client.get("/", headers={"X-API-Key": secret})
        # At the door, and for the line in the log.
        assert [len(digest) for digest in compared] == [32, 32] * 2


def test_each_key_has_its_own_rate(make):
    clock = Clock()
    service = make(api_keys=KEYS, api_rate=0.5, clock=clock)  # 5 at once, then one in 2 s
    client = service.client

    def ask(secret: str) -> int:
        return client.get("/", headers={"X-API-Key": secret}).status_code

    assert [ask(ME) for _ in range(6)] == [200] * 5 + [429]
    assert ask(YOU) == 200
    answer = client.get("/v1/images/x", headers={"X-API-Key": ME})
    assert (answer.headers["Retry-After"], answer.json["code"]) == ("2", "too_many")
    clock.now += 2
    assert [ask(ME), ask(ME)] == [200, 429]
    clock.now += 10_000
    assert [ask(ME) for _ in range(6)] == [200] * 5 + [429]


def test_strangers_cost_no_memory_and_no_tokens(make):
    service = make(api_keys=KEYS, api_rate=1.0)
    for number in range(500):
        assert service.client.get("/", headers={"X-API-Key": f"guess-{number}"}).status_code == 401
    assert service.app.extensions["irs"].admission._buckets._filled == {}


@pytest.mark.parametrize(("values", "says"), [
    ({"api_keys": " , "}, "IRS_API_KEYS: there is no key between the commas"),
    ({"operator_keys": ","}, "IRS_OPERATOR_KEYS: there is no key between the commas"),
    ({"api_keys": "short"}, "IRS_API_KEYS: key 1: a secret has at least 16"),
    ({"api_keys": f"me:{ME},me:{YOU}"}, "IRS_API_KEYS: key 2: the name me is taken"),
    ({"api_keys": f"m e:{ME}"}, "IRS_API_KEYS: key 1: a name has"),
    ({"api_keys": f"me:{ME} x"}, "IRS_API_KEYS: key 1: a secret has"),
    ({"api_rate": 0}, "IRS_API_RATE: must be more than 0, or off"),
    ({"max_queue_wait": -1}, "IRS_MAX_QUEUE_WAIT: must be more than 0, or off"),
    ({"max_client_connections": 0}, "IRS_MAX_CLIENT_CONNECTIONS: "),
])
def test_keys_that_are_none_stop_the_start_and_are_not_shown(values, says):
    with pytest.raises(errors.SettingsError) as caught:
        settings_module.build(values)
    assert str(caught.value).startswith(says)
    assert ME not in str(caught.value)
    assert "short" not in str(caught.value)


@pytest.mark.parametrize("keys", [{}, {"api_keys": " "}])
def test_a_web_tier_that_must_have_keys_does_not_start_without(make, keys):
    """The scaler and the commands have the same settings, and no keys."""
    assert settings_module.build({"require_api_keys": True, **keys}).api_keys is None
    with pytest.raises(errors.SettingsError, match=r"^IRS_REQUIRE_API_KEYS is set and IRS_API_KEYS is not"):
        make(require_api_keys=True, **keys)
    make(require_api_keys=True, api_keys=KEYS)


def test_secrets_show_in_no_print_of_the_settings(make):
    settings = settings_module.build({"api_keys": KEYS, "api_key": YOU})
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(make(api_keys=KEYS).app)):
        assert ME not in text
        assert YOU not in text


def test_keys_are_never_put_into_user_data():
    from irs.scaler import userdata

    assert not {"api_keys", "api_key"} & set(userdata.WORKER)


# -- the queue -------------------------------------------------------------------------------
class Queue:
    """A queue, its fleet and a web process, second by second."""

    def __init__(self, *, visible: int = 0, pace: float = 0, share: float = 1.0) -> None:
        self.clock = Clock()
        self.visible = float(visible)
        self.pace = pace
        self.share = share  # of the results that are this process's
        self.estimates = Estimates(lambda: round(self.visible), self.clock, fresh=-1, patience=5)
        self._own = 0.0

    def second(self, sent: int = 0, others: int = 0) -> None:
        for _ in range(sent):
            self.estimates.sent()
        self.clock.now += 1
        done = min(self.visible + sent + others, self.pace)
        self.visible += sent + others - done
        self._own += done * self.share
        while self._own >= 1:
            self.estimates.finished()
            self._own -= 1
        self.estimates._depth.value()

    def run(self, seconds: int, **rates: int) -> Queue:
        for _ in range(seconds):
            self.second(**rates)
        return self

    @property
    def wait(self) -> float | None:
        return self.estimates.queue_wait()


def test_nobody_can_tell_before_the_first_look():
    queue = Queue(visible=1000)
    assert queue.wait is None  # and it has asked for a look


def test_an_empty_queue_is_no_wait_however_slow_the_last_minute_was():
    queue = Queue(pace=50).run(60, sent=1)
    assert queue.wait == 0


def test_the_first_burst_after_a_quiet_hour_is_admitted():
    queue = Queue(pace=50).run(60, sent=1)  # one a second is the demand, not what the fleet can do
    queue.run(3, sent=500)
    assert queue.wait is None


def test_a_backlog_is_measured_by_what_leaves_it():
    queue = Queue(visible=1000, pace=20).run(10, sent=20)
    assert queue.wait == pytest.approx(50, rel=0.1)


def test_what_was_sent_since_the_last_look_counts():
    queue = Queue(visible=1000, pace=20).run(10, sent=20)
    queue.estimates._depth.refresh = lambda: None
    before = queue.wait
    for _ in range(400):
        queue.estimates.sent()
    assert queue.wait == pytest.approx(before + 20, rel=0.1)


def test_a_fleet_that_does_nothing_yet_has_no_pace():
    assert Queue(visible=1000, pace=0).run(30, sent=10).wait is None


def test_a_fleet_that_grows_is_soon_taken_for_as_large_as_it_is():
    queue = Queue(visible=5000, pace=1).run(60)
    queue.pace = 100
    queue.run(20)
    assert queue.wait == pytest.approx(queue.visible / 100, rel=0.1)


def test_one_of_four_processes_overestimates_until_it_refuses():
    queue = Queue(visible=4000, pace=40, share=0.25).run(20, sent=10, others=30)
    assert queue.wait == pytest.approx(400, rel=0.1)  # and the truth is 100
    queue.run(20)
    assert queue.wait == pytest.approx(queue.visible / 40, rel=0.1)


def test_the_window_of_another_process_s_batch_is_no_jam():
    queue = Queue(visible=60, pace=40, share=0.05).run(60, sent=2, others=38)
    assert queue.wait == pytest.approx(30, rel=0.3)  # and the truth is a second and a half
    queue.estimates.elsewhere = lambda: 38.0
    assert queue.wait == pytest.approx(1.5, rel=0.1)
    place = queue.estimates.place()
    assert place.seconds == pytest.approx(1.5, rel=0.1)


def test_old_looks_tell_nothing():
    queue = Queue(visible=1000, pace=20).run(10)
    queue.estimates._depth.refresh = lambda: None
    queue.clock.now += 11
    assert queue.wait is None


def test_a_queue_that_cannot_be_looked_at_admits(make):
    service = make(max_queue_wait=1.0)
    service.depth = errors.Unreachable("away")
    assert service.post(("a.jpg", picture())).status_code == 200


@pytest.mark.parametrize("path", ["/upload", "/v1/images"])
def test_a_long_queue_is_told_before_the_body_is_read(make, path):
    service = make(max_queue_wait=60.0)
    service.app.extensions["irs"].estimates.queue_wait = lambda: 75.2
    answer = service.client.post(path, data=b"not even a form", content_type="text/plain")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "16")
    assert not service.objects.stored
    assert service.client.get("/v1/images/x").status_code == 404
    assert service.client.get("/").status_code == 200
    assert "irs_overloads_total 1.0" in service.client.get("/metrics").text


def test_the_limit_can_be_taken_away(make):
    service = make(max_queue_wait="off")
    service.app.extensions["irs"].estimates.queue_wait = lambda: 1e9
    assert service.post(("a.jpg", picture())).status_code == 200
