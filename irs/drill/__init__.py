"""Drills: a fault against a running stack, under a small load, judged by in = out.

The fault harness of the tests starts its own stack and proxies; a drill takes the one that
runs, on a laptop or on AWS, and the endpoint's own API or real signals.
"""
