"""One instance's metadata endpoint: IMDSv2 on 127.0.0.1, a port of its own.

A token first (PUT), then GETs that carry it: version 1 is refused, as our launches ask EC2
to refuse it. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from irs.local.role import Credentials

HOST = "127.0.0.1"
#: AWS's own bounds for a token's life, in seconds.
_MAX_TTL = 21_600
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_ACCOUNT = "000000000000"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What an instance can learn about itself."""

    instance_id: str
    instance_type: str
    ami: str
    region: str
    #: its role's
    credentials: Credentials
    #: as given at launch; empty: none
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class MetadataServer:
    """Serves `facts` until `close`; assigning new ones is seen by the next request."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._action: dict[str, str] | None = None
        self._tokens: dict[str, float] = {}
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self))
        self._server.daemon_threads = True
        # The interval bounds how long `close` takes.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,),
                                        name=f"metadata-{facts.instance_id}", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def interrupt(self, action: str = "terminate", *, seconds: float = 120) -> None:
        """Announce a spot interruption (``terminate`` or ``stop``) ``seconds`` from now."""
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        self._action = {"action": action, "time": _stamp(at)}

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def new_token(self, ttl: str | None) -> str | None:
        """A token for 1 to 21,600 seconds; None where ``ttl`` is not such a number."""
        if ttl is None or not ttl.isdecimal() or not 1 <= int(ttl) <= _MAX_TTL:
            return None
        now = time.monotonic()
        self._tokens = {t: until for t, until in self._tokens.items() if until > now}
        token = secrets.token_urlsafe(32)
        self._tokens[token] = now + int(ttl)
        return token

    def admits(self, token: str | None) -> bool:
        """Whether the token is one of ours and still good."""
        return token is not None and self._tokens.get(token, 0) > time.monotonic()

    def find(self, path: str) -> str | None:
        """The text at ``path`` (after ``/latest/``); None: not found."""
        if path == "user-data":
            return self.facts.user_data or None
        if path == "dynamic/instance-identity/document":
            return json.dumps(self._identity(), indent=1)
        base, _, rest = path.partition("/")
        if base != "meta-data":
            return None
        tree = self._tree()
        if rest in tree:
            return tree[rest]
        # A directory lists its children, the directories among them with a slash.
        prefix = rest if rest.endswith("/") or not rest else rest + "/"
        below = {key[len(prefix):].partition("/") for key in tree if key.startswith(prefix)}
        return "\n".join(sorted({head + slash for head, slash, _ in below})) or None

    def _tree(self) -> dict[str, str]:
        f = self.facts
        tree = {
            "ami-id": f.ami,
            "instance-id": f.instance_id,
            "instance-type": f.instance_type,
            "local-ipv4": HOST,
            "placement/region": f.region,
            "placement/availability-zone": f.region + "a",
            "iam/info": json.dumps({
                "Code": "Success", "LastUpdated": _stamp(datetime.now(UTC)),
                "InstanceProfileArn": f"arn:aws:iam::{_ACCOUNT}:instance-profile/{f.credentials.role}",
                "InstanceProfileId": "AIPAEMBEDDEDCLOUD"}),
            f"iam/security-credentials/{f.credentials.role}": json.dumps(self._credentials()),
        }
        tree |= {f"tags/instance/{key}": value for key, value in f.tags.items()}
        if self._action:
            tree["spot/instance-action"] = json.dumps(self._action)
        return tree

    def _credentials(self) -> dict[str, str]:
        found = self.facts.credentials
        return {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": _stamp(datetime.now(UTC)),
                "AccessKeyId": found.access_key, "SecretAccessKey": found.secret_key,
                "Token": found.token, "Expiration": _stamp(found.expires)}

    def _identity(self) -> dict[str, str]:
        f = self.facts
        return {"accountId": _ACCOUNT, "architecture": "x86_64", "imageId": f.ami,
                "instanceId": f.instance_id, "instanceType": f.instance_type,
                "privateIp": HOST, "region": f.region, "availabilityZone": f.region + "a",
                "version": "2017-09-30"}


def _handler(server: MetadataServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        #: seconds; an idle connection must not keep its thread for ever
        timeout = 30

        def do_PUT(self) -> None:
            if self.path != "/latest/api/token":
                self._answer(404)
            elif "X-Forwarded-For" in self.headers:
                # Through a proxy: AWS refuses, so that a misled proxy gives nothing away.
                self._answer(403)
            elif token := server.new_token(self.headers.get(_TTL_HEADER)):
                self._answer(200, token, {_TTL_HEADER: self.headers[_TTL_HEADER]})
            else:
                self._answer(400)

        def do_GET(self) -> None:
            if not server.admits(self.headers.get(_TOKEN_HEADER)):
                self._answer(401)
                return
            text = (server.find(self.path.removeprefix("/latest/"))
                    if self.path.startswith("/latest/") else None)
            self._answer(404 if text is None else 200, text or "")

        def _answer(self, status: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: a liveness check every few seconds is not news."""

    return Handler


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
