"""The one place that builds cloud clients; every timeout and retry is argued here."""

from __future__ import annotations

import functools
import threading
from datetime import timedelta
from typing import Any

import boto3
import botocore
import botocore.session
from botocore.config import Config
from botocore.endpoint_provider import EndpointProvider
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from irs import __version__, errors
from irs.aws import calls
from irs.aws.faults import NO_CREDENTIALS
from irs.settings import Settings

#: A TCP handshake inside a region takes about a millisecond; 5 s is a lost packet twice.
CONNECT_TIMEOUT = 5.0
#: The slowest ordinary control call (RunInstances) answers within a few seconds.
READ_TIMEOUT = 15.0
#: Seconds, tries together, that a PUT has whose caller cannot wait for the usual 30; and the slowest
#: link worth waiting for, in bytes a second.
HASTY = 7.0, 14.0
SLOW = 2_000_000
#: Seconds after a try of those within which the next one may begin, and the longest pause before it.
AGAIN = 0.5
#: One try and two more: what still fails is a fault for the caller's own loop, which has
#: a longer patience and a record of it. Standard mode backs off with full jitter.
ATTEMPTS = 3
#: How long obstore keeps credentials before it asks botocore again; it does five minutes
#: earlier. botocore answers with such that are good for ten minutes or more: an instance's end
#: every few hours, and kept for obstore's own half an hour they would be used when they have ended.
KEPT = timedelta(minutes=10)
#: Above the number of threads that may call at once in any of our processes.
POOL = 64
#: What every call to AWS but S3's says that it comes from.
USER_AGENT = f"irs/{__version__} Boto3/{boto3.__version__} Botocore/{botocore.__version__}"

_lock = threading.Lock()


@functools.lru_cache(maxsize=8)
def _core(settings: Settings) -> botocore.session.Session:
    core = botocore.session.Session()
    if not settings.aws_endpoint_url:
        # Credentials come from the instance's metadata service: one lost answer must not
        # leave a worker without them. botocore's own default is a single try.
        core.set_config_variable("metadata_service_num_attempts", 3)
    return core


def ca_bundle(settings: Settings) -> str | None:
    """The file of authorities that the environment (``AWS_CA_BUNDLE``) or AWS's configuration names."""
    return _core(settings).get_config_variable("ca_bundle")


def endpoint(settings: Settings, service: str) -> str:
    """The URL at which ``service`` is called, by botocore's own rules: a client for it has 8 MB."""
    if settings.aws_endpoint_url:
        return settings.aws_endpoint_url
    core = _core(settings)
    loader = core.get_component("data_loader")
    rules = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"),
                             loader.load_data("partitions"))
    return rules.resolve_endpoint(
        Region=settings.region, UseFIPS=bool(core.get_config_variable("use_fips_endpoint")),
        UseDualStack=bool(core.get_config_variable("use_dualstack_endpoint"))).url


@functools.lru_cache(maxsize=8)
def session(settings: Settings) -> boto3.Session:
    """One session a process: building one costs 0.1 s of CPU and several MB."""
    secret = settings.aws_secret_access_key
    return boto3.Session(
        region_name=settings.region,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        botocore_session=_core(settings),
    )


@functools.lru_cache(maxsize=64)
def client(settings: Settings, service: str, *, read_timeout: float = READ_TIMEOUT,
           attempts: int = ATTEMPTS) -> Any:
    """A boto3 client, shared by all threads of the process (clients are thread-safe).

    ``read_timeout`` is in seconds. SQS has `irs.aws.sqs`; a client of it is for kombu's fan-out alone.
    """
    with _lock:  # creating clients from one session is not thread-safe
        made = session(settings).client(
            service,
            endpoint_url=settings.aws_endpoint_url,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=read_timeout,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=POOL,
                tcp_keepalive=True,
                # botocore puts its own together anew, twice a call.
                user_agent=USER_AGENT,
                s3={"addressing_style": "path"} if settings.aws_endpoint_url else {},
            ),
        )
    calls.watch(made)
    return made


@functools.lru_cache(maxsize=8)
def signer(settings: Settings) -> Any:
    """An S3 client that signs addresses for others and calls nothing itself."""
    with _lock:
        return session(settings).client(
            "s3",
            endpoint_url=settings.aws_endpoint_url,
            config=Config(
                # The older query signature leaves the length out. A bucket by its own name is
                # asked for in its region, where others are redirected and lose the body.
                signature_version="s3v4",
                s3={"addressing_style": "path" if settings.aws_endpoint_url else "virtual"},
                # Otherwise the client would have to send a checksum of botocore's choice.
                request_checksum_calculation="when_required",
            ),
        )


def soon(left: float, size: int) -> float | None:
    """The most seconds, tries together, for a PUT of ``size`` bytes where ``left`` are there for it.

    Never less than that the link may be slow: 2 MB/s, in each of two tries. None: the usual ones.
    """
    if left > 2 * READ_TIMEOUT:
        return None
    fit = [seconds for seconds in HASTY if 2 * size / SLOW <= seconds - 2]
    return max((seconds for seconds in fit if seconds <= left), default=min(fit, default=None))


@functools.lru_cache(maxsize=16)
def store(settings: Settings, bucket: str, seconds: float | None = None) -> S3Store:
    """An obstore S3 store: a tenth of boto3's CPU a call, for the hot path.

    ``seconds`` is the most that a call may take, all its tries together; None: some 30.
    """
    endpoint = settings.aws_endpoint_url
    # Two tries and the pause between them; a try that has stalled is over a little after its time.
    a_try = READ_TIMEOUT if seconds is None else seconds / 2 - AGAIN
    options: dict[str, Any] = {
        "region": settings.region,
        # Not with a dot in it: S3's certificate is for one name below its own.
        "virtual_hosted_style_request": endpoint is None and "." not in bucket,
        "client_options": {
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT),
            # A whole request: 20 MB at 2 MB/s, the slowest link worth waiting for.
            "timeout": timedelta(seconds=a_try),
            "pool_max_idle_per_host": str(POOL),
        },
        "retry_config": {
            "max_retries": ATTEMPTS - 1,
            "retry_timeout": timedelta(seconds=2 * READ_TIMEOUT if seconds is None else a_try + AGAIN),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2 if seconds is None else AGAIN),
                "base": 2,
            },
        },
    }
    if endpoint:
        options["endpoint"] = endpoint
    if settings.aws_access_key_id and settings.aws_secret_access_key:
        options["access_key_id"] = settings.aws_access_key_id
        options["secret_access_key"] = settings.aws_secret_access_key.get_secret_value()
    else:
        try:
            options["credential_provider"] = Boto3CredentialProvider(session(settings), ttl=KEPT)
        except ValueError as exc:  # obstore's own word for a chain that found none
            raise errors.AccessDenied(NO_CREDENTIALS, code="NoCredentials") from exc
    return S3Store(bucket, **options)
