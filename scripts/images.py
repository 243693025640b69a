"""Build the images of docker/Containerfile with buildah, without an engine or a daemon.

``images.py [build] [try]``: `build` makes the wheel, the model, a base unless ``--base`` names
one by digest, and every image but the GPU worker's (``--gpu``); it prints their sizes. `try`
(`try_images.py`) runs them against the emulator's image. Needs root, buildah and debootstrap.
Packages come from where pip and apt of this machine are told to take them, and nothing of
that is left in an image.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import release
import try_images
from buildah import Buildah

#: In the order of the Containerfile; bytes that an image may have, 0: as many as it needs.
IMAGES = {"web": 250_000_000, "scaler": 250_000_000, "worker-cpu": 600_000_000, "emulator": 0}
GPU = "worker-gpu"
SUITE = "bookworm"
#: What Debian's own slim images leave out as well, and glibc's tables for iconv: Python has its own.
NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/lib/*/gconv",
            "var/lib/apt/lists", "var/cache/apt", "var/cache/debconf", "var/log")
#: What pip is told elsewhere and what the installer in an image is to be told too.
PIP = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "cert", "timeout")


def build(tool: Buildah, base: str, *, gpu: bool) -> None:
    """Every image; ends the program where one is larger than it may be."""
    wheel, sums = release.wheel(), release.model()
    version = wheel.name.split("-")[1]
    digest, graph = sums.read_text("utf-8").splitlines()[0].split()
    revision = release.run("git", "rev-parse", "HEAD").strip()
    with pip_settings() as (secret, mounts):
        for target in (*IMAGES, *([GPU] if gpu else [])):
            tool("build", "--quiet", "--layers", "--format", "docker", "--isolation", "chroot",
                 "--network", "host", "--timestamp", release.epoch(), "--target", target,
                 "--build-arg", f"BASE={base}", "--build-arg", f"VERSION={version}",
                 "--build-arg", f"REVISION={revision}", "--build-arg", f"MODEL={graph.split('.')[0]}",
                 "--build-arg", f"MODEL_SHA256={digest}", "--secret", f"id=pip,src={secret}",
                 *(part for path in mounts for part in ("--volume", f"{path}:{path}:ro")),
                 "--tag", f"irs-{target}:{version}", "--tag", f"irs-{target}:latest",
                 "--file", "docker/Containerfile", str(release.ROOT))
            release.say(f"built irs-{target}:{version}")
    sizes(tool, gpu=gpu)


def sizes(tool: Buildah, *, gpu: bool) -> None:
    """A line for each image; ends the program where one is too large."""
    too_large = []
    for target in (*IMAGES, *([GPU] if gpu else [])):
        [found] = json.loads(tool("images", "--json", f"irs-{target}:latest"))
        size, most = _bytes(found["size"]), IMAGES.get(target)
        release.say(f"irs-{target:<12} {size / 1e6:6.0f} MB  sha256:{found['id'][:12]}")
        if most and size > most:
            too_large.append(f"irs-{target} has more than {most / 1e6:.0f} MB")
    if too_large:
        sys.exit("; ".join(too_large))


def _bytes(text: str) -> float:
    """Of ``250 MB``, as buildah writes sizes."""
    number, unit = text.split()
    return float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit.upper()]


def debian(tool: Buildah) -> str:
    """A base of our own, by debootstrap, for a machine that reaches no registry of images."""
    name = f"irs-base:{SUITE}"
    if tool("images", "--quiet", "--filter", f"reference=localhost/{name}").strip():
        return f"localhost/{name}"
    archive = mirror()
    root = tool.store / "debian"
    shutil.rmtree(root, ignore_errors=True)
    release.say(f"making a base of Debian {SUITE}: two minutes")
    release.run("debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates",
                SUITE, str(root), archive)
    # Where this machine takes its packages is no business of an image's.
    (root / "etc/apt/sources.list").write_text("# whoever installs more names an archive\n")
    for needless in NEEDLESS:
        for path in root.glob(f"{needless}/*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    container = tool("from", "scratch").strip()
    tool("add", "--quiet", container, str(root), "/")
    tool("commit", "--quiet", "--rm", "--timestamp", release.epoch(), container, name)
    shutil.rmtree(root)
    return f"localhost/{name}"


def mirror() -> str:
    """Where apt of this machine takes packages of `SUITE`; ends the program where it takes none."""
    targets = release.run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)")
    found = next((line.split()[0] for line in targets.splitlines() if line.split()[1:] == [SUITE]), None)
    if found is None:
        sys.exit(f"apt knows no archive of {SUITE}: name a base with --base")
    return found


@contextmanager
def pip_settings() -> Iterator[tuple[Path, list[str]]]:
    """A pip.conf that says where this machine's pip finds packages, and the local paths in it."""
    said = release.run(sys.executable, "-m", "pip", "config", "list")
    found: dict[str, str] = {}
    for line in sorted(said.splitlines(), reverse=True):  # the environment's (`:env:.`) come last, and win
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in PIP:
            found[key] = ast.literal_eval(value)
    words = " ".join(found.values()).split()
    # An index on disk (…/simple) links to files beside it.
    paths = {word.removeprefix("file://").removesuffix("/").removesuffix("/simple")
             for word in words if re.match(r"(file://)?/", word)}
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("[global]\n" + "".join(f"{k} = {' '.join(v.split())}\n" for k, v in found.items()))
        file.flush()
        yield Path(file.name), sorted(path for path in paths if Path(path).exists())


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="images.py", description="Build the images, and try them.")
    parser.add_argument("verb", nargs="?", choices=["build", "try"], help="both where none is named")
    parser.add_argument("--base", help="a Debian with Python 3.11, by digest: NAME@sha256:…")
    parser.add_argument("--gpu", action="store_true", help="the GPU worker's too, which takes 8 GB")
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "irs-images",
                        help="where images are kept  [default: %(default)s]")
    options = parser.parse_args()
    if options.base and "@sha256:" not in options.base:
        parser.error("--base without a digest could be another one tomorrow: NAME@sha256:…")
    for program in ("buildah", *(() if options.base or options.verb == "try" else ("debootstrap",))):
        if shutil.which(program) is None:
            sys.exit(f"no {program} here; on Debian: apt install {program}")
    if os.getuid() != 0:
        sys.exit("buildah's chroot isolation and debootstrap need root")
    tool = Buildah(options.store)
    if options.verb != "try":
        build(tool, options.base or debian(tool), gpu=options.gpu)
    if options.verb != "build":
        return try_images.run(tool)
    return 0


if __name__ == "__main__":
    sys.exit(main())
