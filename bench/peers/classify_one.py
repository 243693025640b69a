"""``classify_one.py FILE``: load torch, the network and its weights, print one file's label."""

import sys
from pathlib import Path

import numpy as np

from irs import log
from irs import settings as settings_module
from irs.domain import images
from irs.model import engine, engine_torch

log.configure("WARNING")  # to stderr: what it prints is the label
settings = settings_module.load()
loaded = engine_torch.TorchEngine(settings)
size = loaded.preprocess.crop
pixels = images.decode(Path(sys.argv[1]).read_bytes(), images.Limits(), loaded.preprocess).pixels
batch = np.frombuffer(pixels, np.uint8).reshape(1, size, size, 3).copy()
print(engine.top_k(loaded.predict(batch), loaded.labels, 1)[0][0].label)
