"""The instance-metadata service, version 2: token first, then plain GETs.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from irs import errors

#: Seconds; the service answers from the host itself.
TIMEOUT = 2.0
TOKEN_TTL = 21_600
#: Seconds before the second try.
PAUSE = 0.5

#: Link-local by design: a proxy named in the environment must not see these requests.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Metadata:
    """What an instance can ask about itself.

    ``endpoint`` is ``http://169.254.169.254`` on EC2. Methods raise `errors.Unreachable`
    where nothing answers and `errors.NotFound` for a path that is not there.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._token = ""
        self._token_until = 0.0

    def get(self, path: str) -> str:
        """The text at ``/latest/{path}``.

        Asked twice: an instance that missed its user data at boot would serve nothing for
        as long as it lives. Where nobody listens, once: that is no instance.
        """
        try:
            return self._get(path)
        except errors.Unreachable as exc:
            if isinstance(getattr(exc.__cause__, "reason", None), ConnectionRefusedError):
                raise
        time.sleep(PAUSE)
        return self._get(path)

    def _get(self, path: str) -> str:
        if time.monotonic() >= self._token_until:
            self._token = self._call("PUT", "/latest/api/token",
                                     {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL)})
            self._token_until = time.monotonic() + TOKEN_TTL - 60
        return self._call("GET", f"/latest/{path}", {"X-aws-ec2-metadata-token": self._token})

    def instance_id(self) -> str:
        """``i-0abc…``."""
        return self.get("meta-data/instance-id")

    def local_ipv4(self) -> str:
        """The address that others of the same network reach it at."""
        return self.get("meta-data/local-ipv4")

    def user_data(self) -> str:
        """The text given at launch; empty where there is none."""
        try:
            return self.get("user-data")
        except errors.NotFound:
            return ""

    def spot_action(self) -> str | None:
        """The interruption notice's JSON, two minutes ahead; None where there is none."""
        try:
            return self.get("meta-data/spot/instance-action")
        except errors.NotFound:
            return None

    def _call(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(  # noqa: S310 - the endpoint is a setting, http by design
            self._endpoint + path, method=method, headers=headers)
        try:
            with _direct.open(request, timeout=TIMEOUT) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 401:
                # The service forgot the token before its time: the next call asks anew.
                self._token_until = 0.0
            if exc.code == 404:
                raise errors.NotFound(f"instance metadata: no {path}") from None
            raise errors.Unreachable(f"instance metadata: {exc.code} for {path}") from None
        except OSError as exc:
            raise errors.Unreachable(f"instance metadata: {errors.words(exc)}") from exc
        except http.client.HTTPException as exc:
            raise errors.Unreachable(f"instance metadata: {str(exc) or type(exc).__name__}") from exc
