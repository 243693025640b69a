"""Which names there are, what they need, and what naming them costs."""

from __future__ import annotations

import subprocess
import sys

from irs.domain.images import Preprocess
from irs.model import registry


def test_the_default_is_scaled_as_it_was_trained():
    spec = registry.spec("efficientnet_lite0")

    assert spec.preprocess == Preprocess(resize=256, crop=224)
    assert spec.mean == (127.0, 127.0, 127.0)
    assert spec.std == (128.0, 128.0, 128.0)
    assert spec.source == "package"


def test_labels_are_imagenets_in_index_order():
    labels = registry.labels()

    assert len(labels) == 1000
    assert (labels[0], labels[3], labels[999]) == ("tench", "tiger shark", "toilet tissue")


def test_the_default_costs_no_heavy_import():
    program = (
        "import sys; from irs.model import registry\n"
        "registry.spec('efficientnet_lite0'); registry.labels()\n"
        "print([m for m in ('torch', 'torchvision', 'numpy', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          timeout=60, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.stdout.strip() == "[]"
