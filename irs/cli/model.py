"""`irs model …`."""

from __future__ import annotations

import json

import click

from irs.cli.base import AS_JSON, cli


@cli.group()
def model() -> None:
    """The model that instances run."""


@model.command()
@click.option("--force", is_flag=True, help="Export again even where the file is there.")
@AS_JSON
def export(force: bool, as_json: bool) -> None:
    """Write the model's ONNX file.

    A CPU instance runs it; the first one makes it where it is missing, which this command
    does ahead of time, for an AMI or an image.
    """
    from irs import log, settings
    from irs.aws.objects import Objects
    from irs.model import export as exporter
    from irs.model import exported, weights

    loaded = settings.load()
    log.configure(level="ERROR")  # what comes out is the path or one line of error
    if force and (old := exported.find(loaded)):
        # The digest is what makes an export one.
        old.path.with_suffix(".sha256").unlink()
    path = exporter.export(loaded, lambda bucket, key: Objects(loaded, bucket).get(key))
    if as_json:
        click.echo(json.dumps({"model": loaded.model, "path": str(path), "sha256": weights.digest(path)}))
    else:
        click.echo(path)
