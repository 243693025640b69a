"""With the default clockwork, not the short one that the matrix has; `make faults` runs it."""

from __future__ import annotations

import threading

import pytest

from irs.aws.queues import Queue
from irs.settings import Settings
from tests.faults.conftest import option
from tests.faults.harness.history import History
from tests.faults.harness.load import upload
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.mark.timeout(200)
def test_who_waits_for_a_killed_worker_has_the_label_within_the_wait(
        request: pytest.FixtureRequest, make_stack, pictures) -> None:
    if not option(request.config, "matrix", False):
        pytest.skip("waits for a default visibility timeout; make faults runs it")
    defaults = Settings.model_fields
    clockwork = {name: defaults[name].default for name in ("visibility_timeout", "client_wait")}
    with make_stack(**clockwork) as stack:
        stack.start(workers=0)
        queue = Queue(stack.settings, stack.settings.input_queue)
        history = History()
        client = threading.Thread(target=upload, args=(
            stack.webs[0], pictures.next(), history, stack.settings.client_wait + 10))
        client.start()
        # The worker that is killed: it has received the message, and never says another word.
        until(lambda: queue.receive(1, wait=1), 20, "received")
        stack.start_worker()
        client.join(stack.settings.client_wait + 20)
    (request_,) = history.requests
    assert (request_.outcome, request_.status) == ("ok", 200), request_
