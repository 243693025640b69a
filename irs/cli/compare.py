"""`irs model compare`."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from irs.cli.base import AS_JSON, FAILED
from irs.cli.model import model
from irs.errors import SettingsError

if TYPE_CHECKING:
    from irs.aws.objects import Objects
    from irs.domain import images
    from irs.model.compare import Outcome
    from irs.model.engine import Engine
    from irs.settings import Settings

#: A model's name, and its weights where others than its own are meant.
Meant = tuple[str, str | None]


class Named(click.ParamType):
    """``NAME``, ``NAME=WEIGHTS`` (a path or s3://bucket/key), ``fleet`` or ``canary``."""

    name = "model"

    def convert(self, value: str, param: click.Parameter | None,
                ctx: click.Context | None) -> Meant:
        """The name, and the weights where others than its own are meant."""
        from irs.settings import kinds

        name, equals, source = value.partition("=")
        if not re.fullmatch(kinds.MODEL, name) or (equals and not source):
            self.fail(f"{value!r} is no model such as resnet50 or resnet50=s3://bucket/resnet50.pth")
        return name, source or None


@model.command()
@click.argument("first", type=Named(), default="fleet")
@click.argument("second", type=Named(), default="canary")
@click.option("--images", "count", type=click.IntRange(1), default=500, show_default=True,
              help="At most so many.")
@click.option("--from", "paths", type=click.Path(exists=True, path_type=Path), multiple=True,
              help="Files and folders in place of stored uploads; may be given again.")
@click.option("--at-least", type=click.FloatRange(0, 1), help="Exit code 1 where fewer agree, 0 to 1.")
@AS_JSON
def compare(first: Meant, second: Meant, *, count: int, paths: tuple[Path, ...],
            at_least: float | None, as_json: bool) -> None:
    """Hold two models against each other on uploads that were stored.

    A model is NAME, or NAME=WEIGHTS with a path or an s3:// address; `fleet` is IRS_MODEL and
    `canary` IRS_CANARY_MODEL, which are what is compared where nothing is said. Uploads have
    random keys, so the first of them are a fair sample.
    """
    from irs import log, settings
    from irs.aws.objects import Objects
    from irs.domain import images
    from irs.model import engine

    loaded = settings.load()
    log.configure(level="ERROR")

    def fetch(bucket: str, key: str) -> bytes:
        return Objects(loaded, bucket).get(key)

    chosen = [_meant(loaded, *named) for named in (first, second)]
    if (chosen[0].model, chosen[0].model_weights) == (chosen[1].model, chosen[1].model_weights):
        raise SettingsError(f"both are {chosen[0].model}: name two models, or set IRS_CANARY_MODEL")
    from irs.model import compare as comparing

    loading = []
    for place, named, wanted in zip(("FIRST", "SECOND"), (first, second), chosen, strict=True):
        with engine.named(_words(place, *named)):
            loading.append(engine.load(wanted, fetch))
    engines = loading[0], loading[1]
    limits = images.Limits(max_bytes=loaded.max_image_bytes, max_pixels=loaded.max_image_pixels)
    files = _named(paths, count) if paths else _stored(Objects(loaded, loaded.input_bucket), limits, count)
    outcome = comparing.run(engines, files, limits)
    if not outcome.comparison.images:
        raise SettingsError("no image to compare them on: " + (
            f"all {len(outcome.skipped)} were refused, the first because {outcome.skipped[0][1]}"
            if outcome.skipped else f"{loaded.input_bucket} holds no uploads; give some with --from"))
    (_json if as_json else _table)(engines, outcome)
    enough = at_least is None or (outcome.comparison.agreement or 0.0) >= at_least
    raise SystemExit(0 if enough else FAILED)


def _meant(loaded: Settings, name: str, source: str | None) -> Settings:
    """Settings with the model that was named."""
    if name == "fleet" and source is None:
        return loaded
    if name == "canary" and source is None:
        if loaded.canary_model is None:
            raise SettingsError("there is no canary: set IRS_CANARY_MODEL, or name two models")
        return loaded.for_canary()
    return loaded.model_copy(update={"model": name, "model_weights": source, "model_sha256": None})


def _words(place: str, name: str, source: str | None) -> Mapping[str, str]:
    """What an error calls the model that was named, by the settings of the fleet's."""
    from irs.model import engine

    if name in ("fleet", "canary") and source is None:
        return engine.CANARY if name == "canary" else {}
    return {"IRS_MODEL": place, "IRS_MODEL_WEIGHTS": place}


def _named(paths: tuple[Path, ...], count: int) -> Iterator[tuple[str, bytes]]:
    from irs.cli import files

    for path in itertools.islice(files.find(paths), count):
        yield str(path), path.read_bytes()


def _stored(inputs: Objects, limits: images.Limits, count: int) -> Iterator[tuple[str, bytes]]:
    from irs import errors
    from irs.domain import keys

    uploads = (key for key, _ in inputs.tags() if not key.startswith(keys.UPLOADS))
    for key in itertools.islice(uploads, count):
        # One that was cancelled or expired meanwhile, or was stored under other limits.
        with contextlib.suppress(errors.NotFound, errors.TooLarge):
            yield key.partition("/")[0], inputs.get(key, max_bytes=limits.max_bytes)


def _json(engines: tuple[Engine, Engine], outcome: Outcome) -> None:
    click.echo(json.dumps({
        "models": [{"name": e.info.name, "version": e.info.version, "engine": e.info.engine,
                    "ms_per_image": _ms(seconds, outcome)}
                   for e, seconds in zip(engines, outcome.seconds, strict=True)],
        **outcome.comparison.as_dict(), "skipped": len(outcome.skipped)}, indent=2))


def _table(engines: tuple[Engine, Engine], outcome: Outcome) -> None:
    found = outcome.comparison.as_dict()
    click.echo(f"{found['images']} images, {len(outcome.skipped)} skipped that neither could be given")
    for side, engine, sure, seconds in zip("AB", engines, found["mean_confidence"], outcome.seconds,
                                           strict=True):
        click.echo(f"  {side}  {engine.info.name} {engine.info.version}: mean confidence {sure:.3f}, "
                   f"{_ms(seconds, outcome):.1f} ms an image")
    click.echo(f"the same label: {found['agreement']:.1%}; "
               f"B's label among A's five: {found['within_top']:.1%}")
    for apart in found["apart"]:
        (a, b), (sure_a, sure_b) = apart["labels"], apart["confidences"]
        click.echo(f"  {apart['image']}  A {a} {sure_a:.0%}  B {b} {sure_b:.0%}")


def _ms(seconds: float, outcome: Outcome) -> float:
    return round(1e3 * seconds / outcome.comparison.images, 2)
