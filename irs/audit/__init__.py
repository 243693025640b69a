"""Nothing is lost without a trace: dead letters, lost messages, and the proof that in = out."""
