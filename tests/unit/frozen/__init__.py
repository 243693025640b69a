"""What versions have stored and sent, kept as they wrote it: see `make`."""
