"""What a drill sends: images that are real and distinct, broken ones, and messages."""

from __future__ import annotations

import hashlib

import pytest

from irs import errors
from irs import settings as settings_module
from irs.broker import envelope
from irs.domain import images, keys, tasks
from irs.drill import messages, pictures

LIMITS, MODEL = images.Limits(), images.Preprocess()


def test_pictures_are_distinct_and_the_same_for_a_seed() -> None:
    one, two = pictures.draw("one.png", 1), pictures.draw("two.png", 2)
    assert images.decode(one.data, LIMITS, MODEL).pixels != images.decode(two.data, LIMITS, MODEL).pixels
    assert pictures.draw("again.png", 1).data == one.data
    assert one.sha256 == hashlib.sha256(one.data).hexdigest()


def test_a_broken_one_has_a_sound_header_and_cannot_be_decoded() -> None:
    bad = pictures.draw("bad.png", 1, good=False)
    assert images.validate(bad.data, LIMITS).width == pictures.SIDE
    with pytest.raises(errors.Undecodable):
        images.decode(bad.data, LIMITS, MODEL)


def test_a_task_reads_as_the_web_tiers_own() -> None:
    job_id = keys.new_id()
    found = envelope.task(messages.task(settings_module.build(), job_id, "a b.png"))
    assert (found.name, found.args) == (tasks.CLASSIFY, [job_id, keys.input_key(job_id, "a b.png")])
    assert found.kwargs["name"] == "a b.png"
    assert found.kwargs["received"].endswith("Z")


def test_garbage_is_found_again_and_is_no_task_of_ours() -> None:
    bodies = messages.garbage(settings_module.build(), "drill-7")
    assert all("drill-7" in body for body in bodies)
    sound = 0
    for body in bodies:
        try:
            found = envelope.task(body)
        except ValueError:
            continue
        sound += found.name == tasks.CLASSIFY and isinstance(found.args[0], str)
    assert not sound
