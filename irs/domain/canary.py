"""Which images a model on trial gets.

By the job's id, so that a job stays with its model whoever receives it, and a share holds for
a single worker as for a fleet.
"""

from __future__ import annotations

import hashlib

#: Steps of a share: a hundredth of a per mille.
_STEPS = 100_000


def takes(job_id: str, *, share: float, attempt: int) -> bool:
    """Whether the canary classifies the job; ``share`` is 0 to 1, ``attempt`` counts from 1.

    Only at the first attempt: what fails under a model on trial is done by the other one.
    """
    if attempt > 1:
        return False
    # Not the id itself: whoever may choose ids could choose models.
    digest = hashlib.sha256(b"canary/" + job_id.encode()).digest()
    return int.from_bytes(digest[:8]) % _STEPS < round(share * _STEPS)
