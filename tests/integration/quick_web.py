"""Run as a script: the web tier as it is, but that what it looks after waits for seconds, not minutes.

And a callback for its answer as long as a test takes on a busy machine; and that it reads the
history anew.
"""

from __future__ import annotations

from irs import rounds
from irs.audit import upkeep as auditing
from irs.callbacks import posting, upkeep
from irs.domain import callbacks, requeue
from irs.web import history

history.FRESH = 0.2
posting.WHOLE = 60.0
callbacks.LEFT = 1.0
callbacks.FIRST = 0.5
upkeep.LEFT = 1.0
upkeep.EVERY = 0.3
upkeep.RESULT_EVERY = 0.3
rounds.FIRST = 0.1, 0.1
auditing.QUEUE_EVERY, auditing.DEAD_EVERY = 0.3, 1.0
requeue.APART = 1.0

if __name__ == "__main__":
    import web_entry

    web_entry.main()
