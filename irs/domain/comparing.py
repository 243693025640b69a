"""What two models say of the same images, side by side. Pure arithmetic over their top classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from irs.domain.jobs import Prediction

#: Images of which both answers are told.
SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """An image that the two call by different names."""

    #: its id, or what it is called here
    image: str
    first: Prediction
    second: Prediction

    @property
    def certainty(self) -> float:
        """0 to 1: how sure the less certain of the two is. What neither knows says little."""
        return min(self.first.confidence, self.second.confidence)


@dataclass(kw_only=True, slots=True)
class Comparison:
    """Tallies images; not thread-safe."""

    images: int = 0
    #: the same first class
    same: int = 0
    #: the second's first class is among the first's classes
    within: int = 0
    #: sums of the first classes' confidences
    confidence: list[float] = field(default_factory=lambda: [0.0, 0.0])
    #: the most telling ones, the surest first
    apart: list[Apart] = field(default_factory=list)

    def add(self, image: str, first: Sequence[Prediction], second: Sequence[Prediction]) -> None:
        """One image, and the top classes of each, the likeliest first."""
        self.images += 1
        for place, top in enumerate((first[0], second[0])):
            self.confidence[place] += top.confidence
        self.within += second[0].label in {guess.label for guess in first}
        if first[0].label == second[0].label:
            self.same += 1
            return
        self.apart.append(Apart(image=image, first=first[0], second=second[0]))
        self.apart.sort(key=lambda a: -a.certainty)
        del self.apart[SHOWN:]

    @property
    def agreement(self) -> float | None:
        """Share of the images with the same first class; None without images."""
        return self.same / self.images if self.images else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; shares and means are null without images."""
        def each(total: float) -> float | None:
            return round(total / self.images, 4) if self.images else None

        return {
            "images": self.images, "agreement": each(self.same), "within_top": each(self.within),
            "mean_confidence": [each(total) for total in self.confidence],
            "apart": [{"image": a.image, "labels": [a.first.label, a.second.label],
                       "confidences": [round(a.first.confidence, 4), round(a.second.confidence, 4)]}
                      for a in self.apart]}
