"""Images that are all distinct, each with the answer that it must get."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import dataclass

import skimage.data
from PIL import Image

#: What the default model calls scikit-image's photographs, by far and whatever the stamp.
LABELS = {"camera": "tripod", "coffee": "espresso", "rocket": "missile"}
#: Pixels of a side of the stamp that makes an image distinct.
STAMP = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One upload and what must come back."""

    name: str
    data: bytes
    sha256: str
    label: str


class Pictures:
    """As many as one asks for; the same for the same ``seed``."""

    def __init__(self, seed: int) -> None:
        self._bases = [(label, Image.fromarray(getattr(skimage.data, name)()).convert("RGB"))
                       for name, label in LABELS.items()]
        self._random = random.Random(seed)
        self._made = 0

    def next(self) -> Picture:
        """A new one. Its neighbours are of other photographs, so that a swap shows."""
        label, base = self._bases[self._made % len(self._bases)]
        self._made += 1
        stamp = Image.frombytes("RGB", (STAMP, STAMP), self._random.randbytes(3 * STAMP * STAMP))
        image = base.copy()
        image.paste(stamp, (0, 0))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=92)
        data = out.getvalue()
        return Picture(name=f"p{self._made}-{self._random.randrange(1 << 32):08x}.jpg", data=data,
                       sha256=hashlib.sha256(data).hexdigest(), label=label)
