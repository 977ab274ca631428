"""Tables of the documentation that are generated from the code.

    python -m tests.docs_tables

updates the tables in the pages, each between two marks.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from foldry.dataset.samples import SampleConfig
from foldry.predict.settings import Settings
from foldry.train.config import StageConfig
from foldry.train.losses import LossConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"


def settings_table() -> str:
    """Return the table of a prediction's settings."""
    rows = ["| option | in Python | default | meaning |", "|---|---|---|---|"]
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


def stages_table() -> str:
    """Return the table of a training stage's fields."""
    rows = ["| field | meaning |", "|---|---|"]
    for kind, prefix in ((SampleConfig, ""), (StageConfig, ""), (LossConfig, "losses.")):
        attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
        for names, text in re.findall(
            r"^    (\S[^:]*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE
        ):
            if names in ("name", "losses"):
                continue
            shown = ", ".join(f"`{prefix}{name}`" for name in names.split(", "))
            rows.append(f"| {shown} | {' '.join(text.split()).replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("predict.md", settings_table),
    "stages": ("train.md", stages_table),
}


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
