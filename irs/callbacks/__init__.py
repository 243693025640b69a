"""Telling a client's own server that a job is done: docs/webhooks.md."""
