"""A queue's URL: asked for once a process, and again once the queue is not there."""

from __future__ import annotations

import pytest

from irs import errors
from irs.aws.queues import Queue
from tests.conftest import Cloud


@pytest.mark.parametrize("name", ["cloud", "moto_cloud"])
def test_a_queue_that_was_made_anew_elsewhere_is_found_again_by_all_that_use_it(
        name: str, request: pytest.FixtureRequest) -> None:
    cloud: Cloud = request.getfixturevalue(name)
    settings = cloud.fresh()
    one, other = Queue(settings, settings.input_queue), Queue(settings, settings.input_queue)
    one.create()
    stale = f"{one.url}-that-was"
    for call in (lambda: other.send("x"), lambda: other.receive(wait=0), other.depth,
                 lambda: other.delete_batch(["r"])):
        Queue(settings, one.name, url=stale)
        assert one.url == other.url == stale
        with pytest.raises(errors.NotFound):
            call()
        assert one.depth().visible == 0
    one.drop()
    with pytest.raises(errors.NotFound):
        _ = other.url
