"""The journal of a machine, shipped to a log group of CloudWatch: docs/decisions/0030-logs-shipped.md.

journald is the buffer, and the cursor of the last line that CloudWatch has taken is all that is
remembered: an outage, a `kill -9` or a reboot loses nothing, and repeats one batch at most.
"""
