"""`irs model …`."""

from __future__ import annotations

import json
from pathlib import Path

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


@model.command()
@click.argument("photo", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@AS_JSON
def check(photo: Path | None, as_json: bool) -> None:
    """Classify one image on this machine.

    PHOTO, or one made for the purpose; without queue, bucket or worker. The machine image
    tests itself so before it is kept.
    """
    from irs import log, settings
    from irs.model import check as checks

    loaded = settings.load()
    log.configure(level="ERROR")
    engine, best = checks.run(loaded, photo.read_bytes() if photo else None)
    if as_json:
        click.echo(json.dumps({
            "model": engine.info.name, "version": engine.info.version, "engine": engine.name,
            "label": best.label, "confidence": round(best.confidence, 4)}))
    else:
        click.echo(f"{engine.info.name} ({engine.info.version}) by {engine.name}: "
                   f"{best.label}, {best.confidence:.2f}")
