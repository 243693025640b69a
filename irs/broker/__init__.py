"""kombu's SQS transport, mended: see docs/decisions/0005-receive-loop.md."""
