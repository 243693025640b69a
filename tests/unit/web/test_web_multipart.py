"""The multipart entrance: limits, tricks with names, and whatever hypothesis comes up with."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from werkzeug.sansio.multipart import MultipartDecoder

from irs.web import multipart
from tests.unit.web.webkit import picture

FORM = "multipart/form-data; boundary=xyz"
JPEG = picture()
END = b"\r\n--xyz--\r\n"


def part(disposition: bytes, data: bytes = JPEG, *more: bytes) -> bytes:
    head = b"".join(b"\r\n" + line for line in more)
    return b"--xyz\r\nContent-Disposition: " + disposition + head + b"\r\n\r\n" + data


def field(name: str, value: bytes = b"v") -> bytes:
    return part(f'form-data; name="{name}"'.encode(), value) + b"\r\n"


FILE = part(b'form-data; name="myfile"; filename="a.jpg"')


def post(service, body: bytes, kind: str = FORM, **headers: str):
    return service.client.post("/upload", data=body, content_type=kind, headers=headers)


# -- limits ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("body", "status", "says"), [
    (b"".join(field(f"f{i}") for i in range(100)) + FILE + END, 200, "(a, tench)"),
    (b"".join(field(f"f{i}") for i in range(150)) + FILE + END, 200, "(a, tench)"),
    (b"".join(field(f"f{i}") for i in range(201)) + FILE + END, 413, "more parts"),
    (field("f", bytes(1_000_000)) + FILE + END, 200, "(a, tench)"),
    (field("f", bytes(600_000)) * 2 + FILE + END, 413, "in fields that are no files"),
    (part(b'form-data; name="f"; filename="a.jpg"', JPEG, b"X: " + b"y" * 16_000) + END, 200, "(a, tench)"),
    (part(b'form-data; name="f"; filename="a.jpg"', JPEG, b"X: " + b"y" * 17_000) + END, 413, "more bytes"),
    (part(b'form-data; name="f"; filename="a.jpg"', JPEG, *[b"X: y"] * 3_000) + END, 413, "more bytes"),
    (b"--xyz\r\nX: " + b"y" * 500_000, 413, "more bytes"),
    (b"p" * 500_000 + b"\r\n" + FILE + END, 413, "more bytes"),
    (FILE + END + b"e" * 500_000, 413, "more bytes"),
    (part(b'form-data; name="f"; filename="' + b"n" * 5_000 + b'.jpg"') + END, 200, "(nnnn"),
])
def test_parts_fields_and_headers_are_bounded(service, body, status, says):
    answer = post(service, body)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert len(service.sent) == (status == 200)


@pytest.mark.parametrize("kind", [
    "multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""',
    "multipart/form-data; boundary=" + "x" * 201, "multipart/form-data; boundary=abc",
    "multipart/form-data; boundary*=utf-8''%00", "multipart/form-data, boundary=xyz"])
def test_a_boundary_that_is_none_or_another_is_a_400(service, kind):
    answer = post(service, FILE + END, kind)
    assert (answer.status_code, answer.text.count("\n")) == (400, 1)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 8, 10, 50, len(JPEG), len(JPEG) + 30])
def test_a_form_without_its_end_is_a_400(service, cut):
    whole = FILE + b"\r\n--xyz--"
    assert post(service, whole).status_code == 200
    answer = post(service, whole[:-cut])
    assert answer.status_code == 400, answer.text
    assert len(service.sent) == 1


# -- names -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("disposition", "image", "line"), [
    (b'filename="../../etc/passwd"', "passwd", "(passwd, tench)"),
    (b'filename="..\\\\..\\\\boot.ini"', "boot.ini", "(boot, tench)"),
    (b'filename="/"', "image", "(image, tench)"),
    (b'filename=".."', "image", "(image, tench)"),
    (b'filename="a\x00b.jpg"', "ab.jpg", "(ab, tench)"),
    (b'filename="' + b"n" * 5_000 + b'.jpg"', "n" * 196 + ".jpg", "(" + "n" * 196 + ", tench)"),
    (b"filename*=UTF-8''caf%C3%A9.jpg", "café.jpg", "(café, tench)"),
    (b"filename=\"x.jpg\"; filename*=UTF-8''%2E%2E%2Fy.jpg", "y.jpg", "(y, tench)"),
    (b"filename*=UTF-8''caf%E9.jpg", "caf\ufffd.jpg", "(caf\ufffd, tench)"),
    (b"filename*=nonsense''a.jpg", "a.jpg", "(a, tench)"),
    (b"filename*=UTF-8''a%0A%28b%2C%20cat%29.jpg", "a(b, cat).jpg", "(a(b%2C cat), tench)"),
    ('filename="日本.jpg"'.encode(), "日本.jpg", "(日本, tench)"),
    (b'filename="caf\xe9.jpg"', "caf\ufffd.jpg", "(caf\ufffd, tench)"),
    (b'filename="\xe2\x80\xaegpj.exe"', "gpj.exe", "(gpj, tench)"),
    (b'filename="a), (b, cat).jpg"', "a), (b, cat).jpg", "(a%29%2C %28b%2C cat%29, tench)"),
    (b'filename="photo (1).jpg"', "photo (1).jpg", "(photo (1), tench)"),
    (b'filename="a, dog.jpg"', "a, dog.jpg", "(a%2C dog, tench)"),
    (b'filename="(.jpg"', "(.jpg", "(%28, tench)"),
    (b'filename="a\xe2\x80\xa8(b, cat).jpg"', "a(b, cat).jpg", "(a(b%2C cat), tench)"),
])
def test_tricks_with_names(service, disposition, image, line):
    body = part(b'form-data; name="myfile"; ' + disposition, JPEG, b"Content-Type: image/jpeg") + END
    answer = post(service, body)
    assert (answer.status_code, answer.text) == (200, line + "\n")
    (job,) = service.sent
    assert job.image == image
    assert job.key.startswith(f"{job.id}/")
    assert re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", job.key)
    (result,) = post(service, body, Accept="application/json").json["results"]
    assert (result["image"], result["result"]) == (image, line)


# -- metadata --------------------------------------------------------------------------------
def test_metadata_is_in_no_answer_and_no_log(service, caplog, capsys):
    exif = Image.Exif()
    exif[0x010E] = exif[0x8298] = "sEcReT-owner"  # description, copyright
    exif.get_ifd(0x8825)[1] = "N"  # a place
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, "JPEG", exif=exif, comment=b"sEcReT-owner")
    assert out.getvalue().count(b"sEcReT-owner") >= 3
    said = []
    with caplog.at_level(logging.DEBUG):
        for body in (out.getvalue(), out.getvalue()[:400]):
            for accept in ("text/plain", "application/json", "text/html"):
                answer = service.post(("a.jpg", body), headers={"Accept": accept, "Prefer": "wait=0"})
                said += [answer.text, str(answer.headers)]
        job = service.sent[0]
        said.append(service.client.get(f"/v1/images/{job.id}").text)
    said += [caplog.text, *capsys.readouterr()]
    assert "sEcReT" not in "".join(said)
    # Stored as it came, and described by its name and whom to tell alone.
    assert service.objects.stored[job.key].metadata == {
        "name": "a.jpg", "reply-to": service.listener.address}


# -- whatever comes --------------------------------------------------------------------------
ALLOWED = {200, 400, 413, 415, 422}

names = st.binary(max_size=60).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))
dispositions = st.one_of(
    st.builds(lambda key, name: b'form-data; name="f"; ' + key + b'="' + name + b'"',
              st.sampled_from([b"filename", b"filename*", b"FILENAME", b"filename*0"]), names),
    st.binary(max_size=80))
headers = st.lists(st.one_of(
    st.sampled_from([b"Content-Type: image/jpeg", b"Content-Type: text/plain", b"Content-Length: -1",
                     b"Content-Transfer-Encoding: base64", b" continued", b"\x00: \x00", b":"]),
    st.binary(max_size=40)), max_size=4)
contents = st.one_of(st.just(JPEG), st.just(JPEG[:-9]), st.just(b""), st.just(picture("PNG")),
                     st.binary(max_size=200), st.just(b"--xyz"), st.just(b"\r\n--xyz"))
parts = st.builds(lambda d, h, c: part(d, c, *h), dispositions, headers, contents)
bodies = st.one_of(
    st.binary(max_size=400),
    st.builds(lambda chunks, end: b"\r\n".join(chunks) + end, st.lists(parts, max_size=5),
              st.sampled_from([END, b"", b"\r\n--xyz", b"\r\n--xyz-", b"\r\n--xyz--", b"--xyz--\n",
                               END * 2])))
#: (where, how many go, what comes) for each change
changes = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 20), st.binary(max_size=20)), max_size=3)
kinds = st.one_of(st.just(FORM), st.sampled_from([
    "multipart/form-data; boundary=\"xyz\"", "multipart/form-data; charset=utf-7; boundary=xyz",
    "MULTIPART/FORM-DATA; BOUNDARY=xyz", "multipart/form-data; boundary=x(y",
    "multipart/mixed; boundary=xyz", "multipart/form-data;;;", ""]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60))


@settings(max_examples=300, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, changed=changes, kind=kinds, json_wanted=st.booleans())
@example(body=FILE + END, changed=[], kind=FORM, json_wanted=False)
@example(body=b"--xyz\r\n\r\n\r\n--xyz--", changed=[], kind=FORM, json_wanted=False)
def test_any_body_has_an_answer_of_ours(service, body, changed, kind, json_wanted):
    for where, gone, come in changed:
        place = where % (len(body) + 1)
        body = body[:place] + come + body[place + gone:]
    stored, sent = len(service.objects.stored), len(service.sent)
    answer = post(service, body, kind, **({"Accept": "application/json"} if json_wanted else {}))
    assert answer.status_code in ALLOWED, (answer.status_code, answer.text)
    new = len(service.sent) - sent
    assert len(service.objects.stored) - stored == new
    assert bool(new) == (answer.status_code == 200)
    if json_wanted:
        found = json.loads(answer.text)
        assert len(found["results"]) >= new if "results" in found else found["code"]
    else:
        lines = answer.text.splitlines()
        assert answer.text.endswith("\n")
        assert sum(line.startswith("(") and line.endswith(", tench)") for line in lines) == new
        assert all(line.startswith("error: ") or (line[0], line[-1]) == ("(", ")") for line in lines)


@settings(max_examples=100, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=contents, kind=st.sampled_from(["image/jpeg", "image/svg+xml", "application/octet-stream", "",
                                            "text/html", "image/../x", FORM]),
       name=st.text(max_size=40))
def test_any_body_of_the_api_too(service, body, kind, name):
    answer = service.client.post("/v1/images", data=body, content_type=kind, query_string={"name": name})
    assert answer.status_code in ALLOWED, answer.text
    assert answer.json["id"] if answer.status_code == 200 else answer.json["code"]


@given(parts=st.lists(st.sampled_from(
    [b"\r", b"\n", b"--", b"xyz", b"--xyz", b" ", b"\t", b"a"]), max_size=12))
@example(parts=[b"--xyz", b"\n", b"--xyz", b"--"])
@example(parts=[b"\r", b"\n", b"--xyz", b" ", b"\r", b"\n"])
def test_a_boundary_is_found_where_the_whole_pattern_finds_it(parts: list[bytes]) -> None:
    data = bytearray(b"".join(parts))
    whole = MultipartDecoder(b"xyz").boundary_re.search(data)
    found = multipart._Decoder(b"xyz", 1000, max_parts=9).boundary_re.search(data)
    assert (found and (found.span(), found.groups())) == (whole and (whole.span(), whole.groups()))


class Pieces(io.RawIOBase):
    """A stream whose reads give ``data`` in pieces that end at ``cuts``."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        super().__init__()
        self._pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def read(self, size: int = -1) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize("line", [b"\r\n--xyz\r\n", b"\n--xyz\n", b"\r\n--xyz \t\r\n"])
@pytest.mark.parametrize("end", [END, b"\r\n--xyz--", b"\n--xyz--\n"])
def test_a_file_has_its_bytes_wherever_a_read_ends(line, end):
    """One that ended between the last boundary's two dashes gave the file a byte of the line before."""
    first, second = (part(f'form-data; name="f"; filename="{name}.jpg"'.encode(), data)
                     for name, data in (("a", b"one\r\n--xy"), ("b", b"\r\n-two\r")))
    body = first + line + second.removeprefix(b"--xyz\r\n") + end

    def files(cuts: list[int]) -> list[tuple[str, bytes]]:
        with multipart.received(Pieces(body, cuts), FORM, max_bytes=1000, max_files=9) as found:
            return [(file.name, file.read()) for file in found]

    whole = files([])
    # The line's end is the longest that can be.
    second = b"\r\n-two" if end.startswith(b"\n") else b"\r\n-two\r"
    assert whole == [("a.jpg", b"one\r\n--xy"), ("b.jpg", second)]
    for cut in range(1, len(body)):
        assert files([cut]) == whole, body[:cut]
    assert files(list(range(1, len(body)))) == whole
