"""Pictures of the pages for the documents: ``make shots``, or ``make shots ARGS=page`` for some.

A real service on an embedded cloud, a real browser (Debian's chromium), photographs of
scikit-image's own package: what is shown is what there is. Each is saved in light and dark, as
on a desk and on a phone, to docs/images/NAME-SIZE-SCHEME.png.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402 - the path comes first
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from irs import settings as settings_module  # noqa: E402
from irs.audit.sweep import failure  # noqa: E402
from irs.aws import provision  # noqa: E402
from irs.aws.objects import Objects  # noqa: E402
from irs.aws.queues import Queue  # noqa: E402
from irs.local.emulator import Emulator  # noqa: E402
from irs.model import export_child, exported  # noqa: E402
from irs.results.store import ResultStore  # noqa: E402
from irs.settings import Settings  # noqa: E402
from tests.browser import dashkit  # noqa: E402
from tests.processes import Service, Web  # noqa: E402
from tests.unit.audit import auditkit  # noqa: E402

IMAGES = ROOT / "docs" / "images"
#: Width and height in CSS pixels, and of how many each is made.
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1200, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 1.5, "has_touch": True,
              "is_mobile": True},
}
#: The address that a page names is the one of `make up`, not that of a free port.
USUAL_PORT = """() => document.querySelectorAll('code').forEach((code) => {
    code.textContent = code.textContent.replace(location.host, '127.0.0.1:8080');
})"""
SCHEMES = ("light", "dark")
#: Photographs with something in them that the model knows, and one that is none.
PHOTOGRAPHS = ("coffee", "chelsea", "camera", "motorcycle_left", "rocket", "astronaut")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """One view of a page."""

    name: str
    #: its address
    path: str
    #: what is done on the page before the picture is taken
    prepare: Callable[[Page], None] = lambda page: None
    #: what is done before it is opened
    before: Callable[[Page], object] = lambda page: None
    #: the whole page, not only what the window has room for
    whole: bool = False


def photographs() -> list[dict[str, Any]]:
    """Files as Playwright takes them."""
    import skimage.data

    files = []
    directory = Path(skimage.data.__file__).parent
    for path in (found for name in PHOTOGRAPHS for found in sorted(directory.glob(f"{name}.*"))):
        if path.suffix in (".png", ".jpg", ".jpeg"):
            out = io.BytesIO()
            Image.open(path).convert("RGB").save(out, "JPEG", quality=90)
            files.append({"name": f"{path.stem}.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()})
    return files


def recognised(page: Page) -> None:
    """Photographs, and a file that is none, with what became of them."""
    files = photographs()
    files.insert(3, {**files[3], "name": "half.jpg", "buffer": files[3]["buffer"][:4_000]})
    page.set_input_files("#form input[name=myfile]", files)
    page.wait_for_function("""() => {
        const rows = [...document.querySelectorAll('.row')];
        return rows.length && rows.every((row) => ['done', 'failed'].includes(row.dataset.state))
            && document.querySelectorAll('.thumb img[src]').length >= rows.length - 1;
    }""")


def live(page: Page) -> None:
    """The dashboard with its charts, and each picture that it shows."""
    page.wait_for_function("""() => {
        const pictures = [...document.querySelectorAll('.letter img')];
        pictures.forEach((one) => { one.loading = 'eager'; });
        return document.querySelectorAll('.chart canvas').length === 6 && pictures.length
            && pictures.every((one) => one.complete);
    }""")


def buried(chosen: Settings) -> None:
    """Dead letters: photographs of which no worker came to an end, and a file that is none."""
    inputs, dead = Objects(chosen, chosen.input_bucket), Queue(chosen, chosen.dead_letter_queue)
    files = {file["name"]: file["buffer"] for file in photographs()}
    for name, data in (*list(files.items())[:3], ("half.jpg", b"\xff\xd8\xff" + bytes(200))):
        letter = auditkit.job(name)
        inputs.put(letter.key, data)
        dead.send(auditkit.message(letter))
        ResultStore(chosen).write(failure(letter, chosen.max_receive_count))


def fleet(page: Page) -> None:
    """A day of a fleet's life, which a fresh service does not have; the rest of the page is real."""
    dashkit.answered(page, lambda: dashkit.stats(queue={**dashkit.stats()["queue"], "dead": 4}))


#: What `make shots` takes.
SHOTS = (
    Shot(name="dashboard", path="/dashboard", prepare=live, before=fleet, whole=True),
    Shot(name="page-empty", path="/"),
    Shot(name="page", path="/", prepare=recognised),
)


@contextmanager
def service() -> Iterator[Web]:
    """A web tier with a worker, on a cloud of its own."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        cloud = stack.enter_context(Emulator(directory, log=directory / "cloud.log"))
        chosen = settings_module.build({
            "aws_endpoint_url": cloud.endpoint, "aws_access_key_id": "test",
            "aws_secret_access_key": "test", "model_dir": directory, "engine_threads": 1,
            "reuse": "off", "poll_wait": 1})
        if exported.find(chosen) is None:
            export_child.in_subprocess(chosen)
        provision.ensure(chosen)
        buried(chosen)
        running = Service(chosen, directory, stack)
        web = running.web()
        running.worker()
        yield web


def take(browser: Browser, web: Web, shot: Shot) -> None:
    """One view in every size and scheme."""
    for size, options in SIZES.items():
        for scheme in SCHEMES:
            context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
            try:
                page = context.new_page()
                shot.before(page)
                page.goto(web.url + shot.path)
                page.evaluate(USUAL_PORT)
                shot.prepare(page)
                picture = Image.open(io.BytesIO(page.screenshot(full_page=shot.whole)))
            finally:
                context.close()
            target = IMAGES / f"{shot.name}-{size}-{scheme}.png"
            # 256 colours are enough for a page, and a quarter of the bytes.
            few = picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
            few.save(target, optimize=True)
            print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1000:.0f} kB")  # noqa: T201


def main(wanted: list[str]) -> None:
    """All shots, or those whose names begin so."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    shots = [shot for shot in SHOTS if not wanted or shot.name.startswith(tuple(wanted))]
    if not shots:
        sys.exit(f"there are: {', '.join(shot.name for shot in SHOTS)}")
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium here; on Debian: apt install chromium fonts-dejavu-core")
    with service() as web, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run"])
        for shot in shots:
            take(browser, web, shot)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
