"""The machine image: how it is built, and what runs first on a machine that was made of it."""
