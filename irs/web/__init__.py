"""The web tier: takes uploads, hands them to the queue, waits for results, answers.

It imports neither the model nor the worker; tasks are sent by name.
"""
