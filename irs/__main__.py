"""``python -m irs`` is the `irs` command."""

from irs.cli import main

main()
