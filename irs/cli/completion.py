"""`irs completion`."""

from __future__ import annotations

import click

from irs.cli.base import cli

SHELLS = ("bash", "zsh", "fish")


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what completes `irs` in a shell.

    bash: eval "$(irs completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc. fish:
    irs completion fish > ~/.config/fish/completions/irs.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    # The variable's name is the one that click looks for when `irs` is the program.
    click.echo(found(cli, {}, "irs", "_IRS_COMPLETE").source())
