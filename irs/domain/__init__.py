"""Pure decisions and records: standard library only, Pillow only where images are opened."""
