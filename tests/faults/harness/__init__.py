"""The fault harness: a stack of real processes, a load, a recorded history and an oracle.

In the manner of Jepsen's total-queue checker: what goes in must come out. `runner.run` is
the whole of it; a fault is one entry in `tests.faults.catalogue`.
"""
