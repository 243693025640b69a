"""Pure decisions and records: standard library only, Pillow in `images` alone."""
