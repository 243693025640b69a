"""A stream of CloudWatch Logs, written: what no emulator says as AWS does."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber  # noqa: TID251 - AWS's answers, which no emulator gives so

from irs import settings as settings_module
from irs.aws.logs import Stream


@pytest.mark.parametrize(("rejected", "count"), [
    ({}, 0), ({"tooOldLogEventEndIndex": 2}, 2), ({"expiredLogEventEndIndex": 3}, 3),
    ({"tooOldLogEventEndIndex": 2, "expiredLogEventEndIndex": 3}, 3), ({"tooNewLogEventStartIndex": 3}, 1),
    ({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 3}, 2)])
def test_what_is_refused_for_its_age_is_counted(rejected: dict[str, int], count: int) -> None:
    """Ends are exclusive and starts are not, as the API's reference says."""
    stream = Stream(settings_module.build({"aws_access_key_id": "a", "aws_secret_access_key": "b"}),
                    "/irs/a", "web/i-0")
    with Stubber(stream._logs) as stub:
        stub.add_response("put_log_events", {"rejectedLogEventsInfo": rejected} if rejected else {}, {
            "logGroupName": "/irs/a", "logStreamName": "web/i-0",
            "logEvents": [{"timestamp": at, "message": "x"} for at in range(4)]})
        assert stream.put([(at, "x") for at in range(4)]) == count
