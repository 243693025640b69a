"""The `irs` command: thin, one function a verb.

Exit codes: 0 done; 1 the verb's own "no" (a check failed, an image was refused, in is not
out); 2 it could not start (usage, settings, nothing answers); 130 Ctrl-C. What is heavy is
imported inside the verb that needs it: `irs --help` loads neither boto3, Flask, Celery,
pydantic nor torch, and a test holds it to that.
"""

from __future__ import annotations

from irs.cli import (
    ami,
    audit,
    batch,
    classify,
    compare,
    completion,
    drill,
    health,
    logs,
    model,
    results,
    simulate,
    stack,
    status,
    workers,
)
from irs.cli.base import CANNOT, FAILED, INTERRUPTED, cli

__all__ = ["CANNOT", "FAILED", "INTERRUPTED", "ami", "audit", "batch", "classify", "cli", "compare",
           "completion", "drill", "health", "logs", "main", "model", "results", "simulate", "stack",
           "status", "workers"]


def main() -> None:
    """The console script."""
    cli(prog_name="irs")
