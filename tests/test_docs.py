"""Every command, flag, configuration field and dependency is documented; every link works."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import foldry
from foldry.cli.main import application
from tests.docs_tables import TABLES, marked

ROOT = Path(__file__).resolve().parent.parent
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = [
    *(ROOT / "docs").glob("*.md"),
    *ROOT.glob("*.md"),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "examples")),
]
NOT_OURS = {"--help", "--install-completion", "--show-completion"}


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Return every command by the words that call it, groups included."""
    yield path, command
    if hasattr(command, "list_commands"):
        context = command.make_context(path, [], resilient_parsing=True)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            # A hidden command is what the group itself does.
            yield from commands(inner, path if inner.hidden else f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(application()), "foldry"))


def mentions(text: str, words: str) -> bool:
    """Return whether the text has the words, not as the start of longer ones."""
    return re.search(rf"(?<![\w-]){re.escape(words)}(?![\w-])", text) is not None


def configurations() -> Iterator[tuple[str, ast.ClassDef]]:
    """Return the classes whose fields a user or a preset chooses."""
    for path in sorted((ROOT / "src" / "foldry").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Settings")):
                yield node.name, node


CONFIGURATIONS = dict(configurations())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_its_flags_are_on_one_page(path: str) -> None:
    flags = {flag for parameter in COMMANDS[path].params for flag in parameter.opts}
    wanted = {path} | {flag for flag in flags - NOT_OURS if flag.startswith("-")}
    missing = {
        page: sorted(words for words in wanted if not mentions(text, words))
        for page, text in {**DOCS, "README.md": (ROOT / "README.md").read_text()}.items()
    }
    nearest = min(missing.values(), key=len)
    assert nearest == [], f"no page has all of `{path}`"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_field_is_documented(name: str) -> None:
    node = CONFIGURATIONS[name]
    _, _, attributes = (ast.get_docstring(node) or "").partition("Attributes:")
    fields = [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not ast.unparse(item.value or item.target).startswith("_setting(")  # has its help
    ]
    assert [field for field in fields if not mentions(attributes, field)] == []


@pytest.mark.parametrize("name", TABLES)
def test_tables_follow_from_the_code(name: str) -> None:
    page, _ = TABLES[name]
    assert marked(name) in DOCS[page], "run `python -m tests.docs_tables`"


def test_every_dependency_says_why() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    requirements = project["dependencies"] + [name for extra in extras for name in extra]
    for requirement in requirements:
        assert "==" not in requirement.partition(";")[0], f"{requirement}: a lower bound is enough"
        name = re.split(r"[\[<>=!~; ]", requirement)[0]
        assert f"| `{name}` | " in DOCS["design.md"], f"docs/design.md does not say why {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_import_from_the_package_alone(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        modules = re.findall(r"^\s*(?:from|import) (foldry\S*)", code, flags=re.MULTILINE)
        assert set(modules) <= {"foldry"}
        for name in re.findall(r"\bfoldry\.(\w+)", code):
            assert name in foldry.__all__


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in DOCS if f"docs/{name}" not in readme] == []


def test_the_list_of_benchmarks_is_complete() -> None:
    folder = ROOT / "benchmarks"
    text = (folder / "README.md").read_text("utf-8")
    assert set(re.findall(r"`(\w+\.py)`", text)) == {path.name for path in folder.glob("*.py")}
