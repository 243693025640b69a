"""From what was asked for to a build, a document, or what may be cleared away."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from irs import errors
from irs.ami import choosing, turn
from irs.ami.building import Building, Order
from irs.ami.choosing import Listed
from irs.ami.document import Plan, build
from irs.ami.staging import Stage
from irs.ami.turn import Turn
from irs.aws import launches
from irs.aws.machine_images import Builder, MachineImage, MachineImages
from irs.aws.objects import Objects
from irs.settings import Settings

#: Amazon Linux 2023, whichever is the newest, for x86_64 or arm64; it has a package of Python 3.11.
BASE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"
#: Seconds: S3 takes no address that is good for longer.
WEEK = 7 * 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to be on the machine."""

    #: a wheel's path or s3:// address, or a version
    release: str
    sha256: str | None = None
    #: the s3:// address of an export's .sha256 file; None: this machine's export
    model: str | None = None
    #: where addresses lead to; None: IRS_OUTPUT_BUCKET
    bucket: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What it is built on; None: as the settings have it for app instances."""

    #: an AMI or an SSM parameter; None: `BASE`, for the processors that the type has
    base: str | None = None
    type: str | None = None
    subnet: str | None = None
    groups: tuple[str, ...] = ()
    #: GiB
    disk: int = 16
    #: for the installation
    minutes: int = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Clearing:
    """What `prune` removes."""

    images: tuple[MachineImage, ...]
    #: machines of builds that nobody follows any more
    builders: tuple[Builder, ...]
    snapshots: tuple[str, ...]
    #: a build that is under way, whose machine stays
    under_way: str | None


def make(settings: Settings, wish: Wish, machine: Machine, say: Callable[[str], None], *,
         sleep: Callable[[float], None] = time.sleep) -> MachineImage:
    """Build an image; it is available. Raises `errors.IRSError`."""
    ec2 = MachineImages(settings)
    type = machine.type or settings.instance_type
    able = ec2.architectures(type)
    base = ec2.base(machine.base or BASE.format(able[0]))
    if base.architecture not in able:
        raise errors.SettingsError(
            f"{base.id} is for {base.architecture}, {type} is {' or '.join(able)}: name another --base or "
            "--instance-type")
    name = f"{int(time.time()):x}{secrets.token_hex(4)}"
    bucket = wish.bucket or settings.output_bucket
    patience = machine.minutes * 60
    stage = Stage(settings, bucket, f"ami/{settings.cluster}/{name}", seconds=min(WEEK, patience + 900))
    try:
        release, version = stage.release(wish.release, wish.sha256)
        graph = stage.model(wish.model)
        address, report = stage.report()
        order = Order(
            build=name, cluster=settings.cluster, base=base, type=type,
            subnet=machine.subnet or next(iter(settings.subnet_ids), None),
            groups=machine.groups or settings.security_group_ids, disk=machine.disk,
            user_data=build(Plan(release=release, model=graph, report=address,
                                 engine=_engine(settings.engine),
                                 # It ends itself after all that waits for it has given up.
                                 minutes=machine.minutes + 30)),
            version=version, model=graph.name, patience=patience)
        return Building(order, machines=ec2, images=ec2, report=report, say=say, sleep=sleep,
                        turn=Turn(Objects(settings, bucket), settings.cluster, name)).run()
    finally:
        try:
            stage.clear()
        except errors.CloudError as exc:
            say(f"left in {bucket} below ami/{settings.cluster}/{name}: {exc}")


def document(settings: Settings, wish: Wish, *, role: str, lines: str) -> str:
    """User data for a stock image that becomes ``role``, with settings ``IRS_NAME=value``.

    What it fetches is good for a week. Raises `errors.IRSError`.
    """
    stage = Stage(settings, wish.bucket or settings.output_bucket, f"ami/{settings.cluster}/cloud-init",
                  seconds=WEEK)
    release, _ = stage.release(wish.release, wish.sha256)
    told = dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)
    return build(Plan(release=release, model=stage.model(wish.model), role=role, settings=lines,
                      engine=_engine(told.get("IRS_ENGINE", settings.engine))))


def _engine(setting: str) -> str:
    """What workers of a machine without a GPU run."""
    return "openvino" if setting == "openvino" else "onnxruntime"


def everything(settings: Settings) -> list[Listed]:
    """The cluster's images, the newest first, with who needs them."""
    ec2 = MachineImages(settings)
    return choosing.listed(ec2.images(), instances=ec2.used(), templates=launches.images(settings),
                           setting=settings.ami)


def clearing(settings: Settings, *, keep: int, bucket: str | None = None) -> Clearing:
    """What may go."""
    ec2 = MachineImages(settings)
    found, _ = turn.read(Objects(settings, bucket or settings.output_bucket), turn.key(settings.cluster))
    under_way = turn.taken(found, time.time())
    left = () if under_way else tuple(ec2.builders())
    return Clearing(
        images=tuple(choosing.expendable(everything(settings), keep=keep)), builders=left,
        snapshots=() if under_way else tuple(ec2.orphans()), under_way=under_way)


def clear(settings: Settings, told: Clearing) -> None:
    """Remove it; raises `errors.CloudError` at the first that cannot be. The rest is found again."""
    ec2 = MachineImages(settings)
    for builder in told.builders:
        ec2.terminate(builder.id)
    for image in told.images:
        ec2.remove(image)
    for snapshot in told.snapshots:
        ec2.delete(snapshot)
