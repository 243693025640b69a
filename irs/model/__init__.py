"""From pixels to predictions: registry, weights, exported models, engines, batcher."""
