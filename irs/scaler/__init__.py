"""Watches the input queue and keeps the right number of app instances running."""
