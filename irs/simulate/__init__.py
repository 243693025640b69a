"""What each scaling rule costs and how long it lets messages wait: a discrete-event simulator.

Imports numpy, so nothing outside this package imports it before `irs simulate` runs.
"""
