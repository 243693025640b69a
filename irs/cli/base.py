"""The group that every verb joins, and what verbs share."""

from __future__ import annotations

from typing import Any

import click

from irs.errors import IRSError, words

FAILED = 1
CANNOT = 2
INTERRUPTED = 130

AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


class _Verbs(click.Group):
    """Errors that we raise on purpose, and the system's, are one line and never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IRSError as exc:
            click.echo(f"irs: {exc}", err=True)
            ctx.exit(CANNOT)
        except ModuleNotFoundError as exc:
            if (package := (exc.name or "irs").partition(".")[0]) == "irs":
                raise  # ours: a defect, and no package that was left out
            click.echo(f"irs: this needs the package {package}, which is not installed; docs/releases.md "
                       "says which extra brings it, such as pip install 'irs[simulate]'", err=True)
            ctx.exit(CANNOT)
        except BrokenPipeError:
            raise  # click's own: the reader of a pipe has left
        except OSError as exc:
            click.echo(f"irs: {words(exc)}", err=True)
            ctx.exit(CANNOT)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Image recognition as a service on AWS primitives.

    Settings are IRS_* variables, or lines of .env; docs/settings.md explains each.
    """
