"""Batches: many images, sent only as fast as the queue drains, whatever process does it."""
