"""Which URLs and addresses may be called: a row for each way in that somebody has found."""

from __future__ import annotations

import urllib.parse
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from irs.domain import addresses

LOOPBACK = (ip_network("127.0.0.0/8"),)

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "223.255.255.254",
          "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "2001:4860:4860::8888"]
NOT_PUBLIC = [
    # this host, and this network
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "::", "::1",
    # private
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255",
    "fc00::1", "fd12:3456::1", "fec0::1",
    # link-local; the metadata services of clouds
    "169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%1", "fd00:ec2::254", "100.100.100.200",
    "168.63.129.16",
    # multicast, broadcast, reserved
    "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "ff02::1", "ff0e::1",
    # protocol assignments, documentation, benchmarks
    "192.0.0.1", "192.0.0.9", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
    "2001:db8::1", "3fff::1", "2001:10::1", "2001:20::1", "100::1", "5f00::1",
    # an IPv4 address within: mapped, compatible, 6to4, NAT64, Teredo, even where that is public
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "2002:7f00:1::",
    "2002:808:808::", "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "2001:0:1::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert addresses.public(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_not_public(text: str) -> None:
    assert not addresses.public(ip_address(text))
    # The same where it stands in the URL, unless it cannot.
    literal = f"[{text}]" if ":" in text else text
    with pytest.raises(ValueError, match=r"has an address that is not public|must be https://host"):
        addresses.parse(f"https://{literal}/hook")


SOUND = {
    "https://example.com": ("example.com", 443),
    "https://example.com/": ("example.com", 443),
    "HTTPS://Example.COM:8443/Hook?token=a%20b&x=1": ("example.com", 8443),
    "https://example.com?x": ("example.com", 443),
    "https://hooks_1.example.com./a/../b;c=1": ("hooks_1.example.com.", 443),
    "https://xn--bcher-kva.example/": ("xn--bcher-kva.example", 443),
    "https://1.1.1.1:80/": ("1.1.1.1", 80),
    "https://[2606:4700:4700::1111]/": ("2606:4700:4700::1111", 443),
    "https://localhost/": ("localhost", 443),  # a name; what it resolves to is judged later
    "https://127.example.com": ("127.example.com", 443),
}


@pytest.mark.parametrize("url", SOUND)
def test_a_sound_url(url: str) -> None:
    target = addresses.parse(url)
    assert (target.host, target.port) == SOUND[url]
    assert (target.secure, target.url) == (True, url)


FORM = "must be https://host"
REFUSED = {
    "": FORM, "example.com": FORM, "/hook": FORM, "//example.com/": FORM, "https:example.com": FORM,
    "https:///example.com": FORM, "https://": FORM, "https://:443/": FORM,
    "ftp://example.com": FORM, "file:///etc/passwd": FORM, "gopher://example.com": FORM,
    "javascript:alert(1)": FORM,
    "https://user@example.com": FORM, "https://user:secret@example.com": FORM,
    "https://example.com@127.0.0.1/": FORM, "https://example.com#@127.0.0.1/": FORM,
    "https://example.com\\@127.0.0.1/": FORM, "https://127.0.0.1\\.example.com": FORM,
    "https://exa mple.com": FORM, " https://example.com": FORM, "https://example.com ": FORM,
    "https://example.com/\r\nHost: x": FORM, "https://example.com/\t": FORM, "https://example.com\n": FORM,
    "https://example.com/a b": FORM, "https://bücher.example/": FORM, "https://example.com/ü": FORM,
    "https://①②⑦.⓪.⓪.①/": FORM, "https://example%2ecom/": FORM, "https://127.0.0.1%2f@x/": FORM,
    "https://example.com/#part": FORM, "https://example.com:80:90/": FORM,
    "https://example.com:x/": FORM, "https://example.com:-1/": FORM, "https://example.com:/": FORM,
    "https://[::1%25eth0]/": FORM, "https://[::1": FORM, "https://[127.0.0.1]x/": FORM,
    "https://example.com:0/": "has no port 0", "https://example.com:65536/": "has no port 65536",
    "https://127.1/": "neither a name nor an address", "https://2130706433/": "neither a name",
    "https://0x7f000001/": "neither a name", "https://0x7f.0.0.1/": "neither a name",
    "https://0177.0.0.1/": "neither a name", "https://127.0.0.1./": "neither a name",
    "https://256.256.256.256/": "neither a name", "https://example.0x/": "neither a name",
    "https://[example]/": FORM, "https://[dead.beef]/": "neither a name", "https://.../": "neither a name",
    "http://example.com/": "must be https", "http://1.1.1.1/": "must be https",
    "http://127.0.0.1/": "not public", "https://[::ffff:169.254.169.254]/": "not public",
    "https://example.com/" + "a" * 2048: "longer than 2048",
}


@pytest.mark.parametrize("url", REFUSED)
def test_a_refused_url(url: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[url]) as caught:
        addresses.parse(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("url", "fine"), [
    ("http://127.0.0.1:8000/", True), ("https://127.0.0.1/", True), ("http://localhost/", True),
    ("http://10.0.0.1/", False), ("http://1.1.1.1/", False), ("https://1.1.1.1/", True),
    ("http://[::ffff:127.0.0.1]/", False), ("http://127.1/", False)])
def test_an_allowed_network_needs_neither_to_be_public_nor_https(url: str, fine: bool) -> None:
    if fine:
        assert addresses.parse(url, LOOPBACK).url == url
    else:
        with pytest.raises(ValueError, match=r"."):
            addresses.parse(url, LOOPBACK)


@given(st.one_of(
    st.from_regex(r"https?://[a-zA-Z0-9.@:/?#\[\]%\\ _-]{1,30}", fullmatch=True),
    st.builds("https://{}{}".format, st.text(max_size=20), st.text(max_size=20))))
@example("https://a.b:80@c.d/")
@example("https://a.b\\@c.d/")
def test_another_parser_finds_the_same_host(url: str) -> None:
    """What is judged must be what is called, whoever reads the URL."""
    try:
        target = addresses.parse(url, LOOPBACK)
    except ValueError:
        return
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname == target.host == addresses.host(url).strip("[]")
    assert (parts.port or (443 if target.secure else 80)) == target.port
    assert (parts.username, parts.password, parts.fragment) == (None, None, "")


def test_what_is_logged_of_a_url_has_no_secret() -> None:
    url = "https://hooks.example.com:8443/services/T0/secret?token=secret"
    assert addresses.host(url) == "hooks.example.com"
