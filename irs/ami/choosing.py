"""Which images may go; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from irs.aws.machine_images import MachineImage

#: States of an image that will never be one.
BROKEN = ("failed", "error", "invalid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One image, and who needs it."""

    image: MachineImage
    #: ``IRS_AMI``, versions of launch templates (``lt-0abc:3``), ids of instances; empty: nobody
    #: that is known
    users: tuple[str, ...]


def listed(images: Sequence[MachineImage], *, instances: Mapping[str, Collection[str]],
           templates: Mapping[str, Collection[str]], setting: str) -> list[Listed]:
    """``images`` with their users: instances and templates by image, and the image that launches use."""
    return [Listed(image=i, users=(
        *(("IRS_AMI",) if i.id == setting else ()), *sorted(templates.get(i.id, ())),
        *sorted(instances.get(i.id, ())))) for i in images]


def expendable(found: Sequence[Listed], *, keep: int) -> list[MachineImage]:
    """Those beyond the ``keep`` newest that nobody uses, and those that were never whole.

    ``found`` is the newest first. One that is still being made is left alone.
    """
    whole = [item for item in found if item.image.state == "available"]
    old = {item.image.id for item in whole[keep:]}
    return [item.image for item in found if not item.users
            and (item.image.id in old or item.image.state in BROKEN)]
