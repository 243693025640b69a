"""The documentation says what there is: every setting, route, metric, command and pin."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr

from irs import settings
from irs.cli import cli
from irs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


# -- settings ---------------------------------------------------------------------------------
def test_every_setting_has_its_heading_and_every_heading_its_setting() -> None:
    headings = re.findall(r"^### (IRS_\w+)$", read("docs/settings.md"), flags=re.MULTILINE)
    assert headings == list(settings.names())


@pytest.mark.parametrize("field", Settings.model_fields)
def test_the_default_is_the_one_documented(field: str) -> None:
    default = Settings.model_fields[field].default
    section = read("docs/settings.md").split(f"### IRS_{field.upper()}\n")[1].split("\n### ")[0]
    told = re.match(r"\nDefault: (?:`([^`]*)`|unset)\.", section)
    assert told, section
    if isinstance(default, bool):
        default = str(default).lower()
    unset = default is None or default == () or isinstance(default, SecretStr)
    assert told[1] == (None if unset else str(default))


def test_documents_name_settings_that_exist() -> None:
    known = {*settings.names(), "IRS_NAME"}
    for path in DOCS:
        named = set(re.findall(r"\bIRS_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
        assert named <= known, path.name


# -- HTTP -------------------------------------------------------------------------------------
def test_every_route_is_documented() -> None:
    from irs.web.app import create_app

    app = create_app(settings.build())
    api = read("docs/http-api.md")
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = re.sub(r"<(?!path:)[^>]*>", "<id>", rule.rule)
            assert f"`{method} {path}`" in api, f"{method} {rule.rule}"


def test_every_error_is_documented() -> None:
    from irs import errors

    api = read("docs/http-api.md")
    for kind in errors.Refused.__subclasses__():
        assert f"| {kind.status} |" in api
        assert f"`{kind.code}`" in api


# -- commands ---------------------------------------------------------------------------------
def test_the_commands_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    for path in DOCS:
        code = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", path.read_text("utf-8"),
                                    flags=re.MULTILINE | re.DOTALL))
        made = re.findall(r"^(?:[A-Z_]+=\S+ )*make (?:[A-Z]+=\S+ )*([a-z]+)", code, flags=re.MULTILINE)
        assert set(made) <= targets, path.name
        assert set(re.findall(r"^irs ([a-z]+)", code, flags=re.MULTILINE)) <= cli.commands.keys(), path.name
    readme = read("README.md")
    assert "make up" in readme
    assert "make test" in readme


def test_ci_runs_what_the_readme_says() -> None:
    assert read(".ci/run").rstrip().endswith("exec make test")


# -- links ------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = without_code(path.read_text("utf-8"))
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
        if "://" in target:
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}#{anchor}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        path = left.pop()
        reached.add(path)
        for target in re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)\s]*)?\)", path.read_text("utf-8")):
            there = (path.parent / target).resolve()
            if "://" not in target and there not in reached:
                left.append(there)
    assert not [str(path.relative_to(ROOT)) for path in DOCS if path not in reached]


def test_the_readme_stays_short() -> None:
    assert len(read("README.md").split()) < 600, "detail belongs into docs/"


def test_every_command_is_listed() -> None:
    listed = set(re.findall(r"^irs ([a-z]+)", read("docs/commands.md"), flags=re.MULTILINE))
    assert listed == cli.commands.keys()


def test_every_make_target_has_its_line_of_help() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", read("Makefile"), flags=re.MULTILINE)
    told = re.findall(r'^\t@echo "make ([a-z]+) ', read("Makefile"), flags=re.MULTILINE)
    assert targets
    assert set(told) == set(targets[1].split()) - {"help"}


def test_every_room_is_on_the_map() -> None:
    """docs/architecture.md names each package of irs/, and each module that stands by itself."""
    first = re.findall(r"^\| (`[^|]+) \|", read("docs/architecture.md"), flags=re.MULTILINE)
    told = {name.removesuffix(".py") for cell in first for name in re.findall(r"`([^`]+)`", cell)}
    rooms = {path.name for path in (ROOT / "irs").iterdir() if (path / "__init__.py").exists()}
    rooms |= {path.stem for path in (ROOT / "irs").glob("[!_]*.py")}
    assert not rooms - told


def test_every_decision_in_the_code_is_there() -> None:
    there = {path.name for path in ROOT.glob("docs/decisions/*.md")}
    for path in [*ROOT.glob("*.py"), *ROOT.glob("irs/**/*.py")]:
        for named in re.findall(r"docs/decisions/(\d{4}[\w-]*\.md)", path.read_text("utf-8")):
            assert named in there, f"{path.name} names {named}"


def test_every_decision_is_in_the_index() -> None:
    index = read("docs/decisions/README.md")
    for path in ROOT.glob("docs/decisions/0*.md"):
        assert f"({path.name})" in index, path.name


# -- requirements -----------------------------------------------------------------------------
def test_requirements_are_exact_and_argued() -> None:
    lines = [line for line in read("requirements.txt").splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        pin, reason = line.split("#", 1)
        assert re.fullmatch(r'[a-z0-9-]+(\[[a-z0-9,]+\])?==[0-9][\w.]*( ; \w+ != "\w+")?\s+', pin), line
        assert re.match(r" \S", reason), line


# -- tests ------------------------------------------------------------------------------------
def test_no_folder_of_tests_is_left_out() -> None:
    options = tomllib.loads(read("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    named = options["testpaths"]
    for path in ROOT.glob("tests/**/test_*.py"):
        assert any(path.is_relative_to(ROOT / folder) for folder in named), path
