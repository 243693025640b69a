"""Run as a script: the web tier as it is, but that its callbacks wait for seconds, not for minutes.

And for an answer as long as a test takes on a busy machine; and that it reads the history anew.
"""

from __future__ import annotations

from irs.callbacks import posting, upkeep
from irs.domain import callbacks
from irs.web import history

history.FRESH = 0.2
posting.WHOLE = 60.0
callbacks.LEFT = 1.0
callbacks.FIRST = 0.5
upkeep.LEFT = 1.0
upkeep.EVERY = 0.3
upkeep.RESULT_EVERY = 0.3
upkeep.random.uniform = lambda low, high: low * 0.1

if __name__ == "__main__":
    import web_entry

    web_entry.main()
