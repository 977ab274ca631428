"""Tables of the documentation that are generated from the code.

    python -m tests.docs_tables

updates them in the pages, each between its two marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from foldry.predict.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"


def settings_table() -> str:
    """Return the table of a prediction's settings."""
    rows = ["| option | in Python | default | what it does |", "|---|---|---|---|"]
    for each in fields(Settings):
        about = each.metadata["setting"]
        flag = f"--{(about.flag or each.name).replace('_', '-')} {about.metavar}".strip()
        default = about.in_words or _default(each.default)
        rows.append(f"| `{flag}` | `{each.name}` | {default} | {about.help} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    if value is None:
        return "the network's"
    if value is False:
        return "off"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


TABLES: dict[str, tuple[str, Callable[[], str]]] = {"settings": ("predict.md", settings_table)}


def marked(name: str) -> str:
    """Return a table between its marks."""
    return f"<!-- {name} -->\n{TABLES[name][1]()}\n<!-- end of {name} -->"


def main() -> None:
    for name, (page, _) in TABLES.items():
        text = (DOCS / page).read_text("utf-8")
        found = re.compile(rf"<!-- {name} -->.*?<!-- end of {name} -->", re.DOTALL)
        (DOCS / page).write_text(found.sub(lambda _, name=name: marked(name), text), "utf-8")


if __name__ == "__main__":
    main()
