"""What a machine is to install, put where it can be fetched with nothing but an address."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from irs import errors
from irs.ami.document import Graph, Wheel
from irs.aws import presign
from irs.aws.objects import Objects
from irs.model import exported
from irs.settings import Settings

#: ``irs-0.1.0-py3-none-any.whl``
_WHEEL = re.compile(r"irs-([0-9A-Za-z.+!_]+)-py3-none-any\.whl")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*([a-z.+-][0-9A-Za-z.+-]*)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Stage:
    """A place in a bucket, below ``prefix``; addresses are good for ``seconds``."""

    def __init__(self, settings: Settings, bucket: str, prefix: str, *, seconds: int) -> None:
        self._settings, self._seconds = settings, seconds
        self._prefix = prefix
        self._mine = Objects(settings, bucket)
        self._keys: list[str] = []

    def release(self, named: str, sha256: str | None) -> tuple[Wheel | str, str]:
        """What to install, and its version: a wheel's path, s3://bucket/key, or a version.

        Raises `errors.SettingsError` for what is none of them or has another digest, and
        `errors.CloudError`.
        """
        name = named.rpartition("/")[2]
        wheel = _WHEEL.fullmatch(name)
        if wheel is None:
            if not _VERSION.fullmatch(named):
                raise errors.SettingsError(f"--release {named}: neither irs-VERSION-py3-none-any.whl, here "
                                           "or in S3, nor a version such as 0.1.0")
            return named, named
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise errors.SettingsError("--sha256: 64 hexadecimal digits, as sha256sum prints them")
        if named.startswith("s3://"):
            if sha256 is None:
                raise errors.SettingsError("--sha256 is missing: the digest that a wheel in S3 must have; "
                                           "`make wheel` prints it")
            bucket, key = _location(named)
            url = presign.get_url(self._settings, bucket, key, seconds=self._seconds)
        else:
            data = _read(Path(named))
            found = hashlib.sha256(data).hexdigest()
            if sha256 not in (None, found):
                raise errors.SettingsError(f"--sha256: {named} has {found}")
            url, sha256 = self.put(name, data), found
        return Wheel(name=name, url=url, sha256=sha256), wheel[1]

    def model(self, named: str | None) -> Graph:
        """An export in S3, named by its .sha256 file, or this machine's (``named`` None).

        Raises `errors.SettingsError`, `errors.ModelError` and `errors.CloudError`.
        """
        if named is None:
            graph = _exported(self._settings)
            name, sums = graph.stem, graph.with_suffix(".sha256").read_text("utf-8")

            def address(suffix: str) -> str:
                return self.put(name + suffix, graph.with_suffix(suffix).read_bytes())
        else:
            if not (named.startswith("s3://") and named.endswith(".sha256")):
                raise errors.SettingsError(f"--model {named}: name an export's .sha256 file in S3, beside "
                                           ".onnx and .json, such as s3://bucket/models/NAME.sha256")
            bucket, key = _location(named)
            name = key.rpartition("/")[2].removesuffix(".sha256")
            sums = Objects(self._settings, bucket).get(key, max_bytes=10_000).decode("utf-8", "replace")

            def address(suffix: str) -> str:
                return presign.get_url(self._settings, bucket, key.removesuffix(".sha256") + suffix,
                                       seconds=self._seconds)
        _check(name, sums)
        return Graph(name=name, model=name.rpartition("-")[0], sums=sums,
                     onnx=address(".onnx"), json=address(".json"))

    def report(self) -> tuple[str, Callable[[], bytes]]:
        """Where the machine reports to, and what reads that."""
        key = self._key("report.json")
        # Without the right to list, S3 calls an object that is missing a forbidden one.
        self._mine.put(key, b'{"state": "waiting"}')
        url = presign.write_url(self._settings, self._mine.bucket, key, seconds=self._seconds)
        return url, lambda: self._mine.get(key, max_bytes=100_000)

    def put(self, name: str, data: bytes) -> str:
        """Keep ``data`` here; its address."""
        key = self._key(name)
        self._mine.put(key, data)
        return presign.get_url(self._settings, self._mine.bucket, key, seconds=self._seconds)

    def clear(self) -> None:
        """Remove what was put here; raises `errors.CloudError`."""
        for key in self._keys:
            self._mine.delete(key)

    def _key(self, name: str) -> str:
        self._keys.append(f"{self._prefix}/{name}")
        return self._keys[-1]


def _exported(settings: Settings) -> Path:
    try:
        return exported.require(settings).path
    except errors.ModelError as exc:
        raise errors.ModelError(
            f"{exc}: `irs model export` makes it, or name one in S3 by --model") from exc


def _check(name: str, sums: str) -> None:
    lines = {line.partition("  ")[2]: line.partition("  ")[0] for line in sums.strip().splitlines()}
    if set(lines) != {f"{name}.onnx", f"{name}.json"} or not all(map(_SHA256.fullmatch, lines.values())) \
            or not re.fullmatch(r"[a-z0-9_]{1,64}-[0-9a-f]{12}", name):
        raise errors.SettingsError(f"{name}.sha256 is none of `irs model export`: it names "
                                   f"{', '.join(sorted(lines)) or 'nothing'}")


def _location(named: str) -> tuple[str, str]:
    bucket, _, key = named.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise errors.SettingsError(f"{named}: an address in S3 is s3://bucket/key")
    return bucket, key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise errors.SettingsError(f"--release {path}: {exc.strerror}") from None
