"""From pixels to predictions: registry, weights, exported models, engines, batcher."""

from __future__ import annotations

import os

# onnxruntime 1.32 otherwise gives each machine an id in its user's cache, when it is imported,
# and reports home; switching that off through its API comes too late.
os.environ.update(ORT_DISABLE_TELEMETRY="1")
