"""Two models' answers, tallied."""

from __future__ import annotations

from irs.domain.comparing import SHOWN, Comparison
from irs.domain.jobs import Prediction


def says(*labels: str, sure: float = 0.5) -> tuple[Prediction, ...]:
    return tuple(Prediction(label=label, index=0, confidence=sure / 2 ** place)
                 for place, label in enumerate(labels))


def test_shares_and_means() -> None:
    tally = Comparison()
    tally.add("a", says("cat", "dog"), says("cat", sure=0.7))
    tally.add("b", says("cat", "dog"), says("dog", sure=0.9))
    tally.add("c", says("cat", "dog"), says("owl", sure=0.8))
    assert tally.agreement == 1 / 3
    found = tally.as_dict()
    assert (found["images"], found["agreement"], found["within_top"]) == (3, 0.3333, 0.6667)
    assert found["mean_confidence"] == [0.5, 0.8]
    assert found["apart"][0] == {"image": "b", "labels": ["cat", "dog"], "confidences": [0.5, 0.9]}


def test_the_surest_disagreements_are_told_and_not_all() -> None:
    tally = Comparison()
    for number in range(3 * SHOWN):
        tally.add(str(number), says("cat", sure=1.0), says("dog", sure=number / 100))
    assert [a.image for a in tally.apart] == [str(3 * SHOWN - 1 - place) for place in range(SHOWN)]


def test_without_images_there_is_no_share() -> None:
    found = Comparison().as_dict()
    assert (found["agreement"], found["within_top"], found["mean_confidence"]) == (None, None, [None, None])
