"""What became of the pairs of a screen, as a CSV file and as a page that sorts it.

The page is screen.html, with the style of the report and of screen.css, and screen.js.
"""

from __future__ import annotations

import csv
import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final

from foldry.errors import FoldryError
from foldry.formats.table import read_table
from foldry.measures import MEASURES, SHARE, YES, Measure
from foldry.results.page import page_html, resource
from foldry.store.files import new_text_file

TABLE: Final = "screen.csv"
PAGE: Final = "screen.html"
FOLDER: Final = "pairs"
"""Where each pair has its folder, with the files of a query."""
VIEWER: Final = "viewer.js"
"""The file of the 3D viewer that the reports of all pairs share."""

_SHOWN: Final = tuple(
    MEASURES[key]
    for key in (
        *("ranking_confidence", "iptm", "ptm", "ipsae", "pdockq", "pdockq2", "lis"),
        *("interface_pae", "contacts", "has_clash", "mean_plddt", "residues", "seconds"),
    )
)
NUMBERS: Final = (MEASURES["residues"], *(each for each in _SHOWN if each.key != "residues"))
"""In the order of the CSV file."""
_BAR: Final = "--share"
"""The CSS variable that a bar's length follows."""
_STATES: Final = ("done", "failed", "waiting")


@dataclass(frozen=True)
class ScreenRow:
    """One pair.

    Attributes:
        name: The query's name, which is that of its folder.
        a, b: The two proteins; "" for a complex that was given as one sequence.
        state: `done`, `failed` or `waiting`.
        reason: Why it failed, in one sentence.
        error: Why it failed; unknown where the row was read from a file.
        numbers: Measures by key: of the pair, and of its best prediction where there is one.
    """

    name: str
    a: str
    b: str
    state: str = "waiting"
    reason: str = ""
    error: FoldryError | None = None
    numbers: dict[str, float | None] = field(default_factory=dict)


def best_first(rows: Sequence[ScreenRow]) -> list[ScreenRow]:
    """By ranking confidence; then those that failed and those that wait, in their order."""

    def key(row: ScreenRow) -> tuple[int, float]:
        return _STATES.index(row.state), -(row.numbers.get("ranking_confidence") or 0)

    return sorted(rows, key=key)


def write_screen(rows: Sequence[ScreenRow], out: Path, notice: str = "") -> None:
    """Write both files, each of them whole at any time.

    The CSV file has the columns `a` and `b` where any row names its proteins.

    Args:
        rows: In the order of the CSV file; the page begins with the best.
        out: Folder; it exists.
        notice: What every reader of the predictions must know, or "".
    """
    with new_text_file(out / TABLE) as file:
        writer = csv.writer(file, lineterminator="\n")
        proteins = ("a", "b") if any(row.a for row in rows) else ()
        writer.writerow(["id", *proteins, *(each.key for each in NUMBERS), "state", "reason"])
        for row in rows:
            names = (getattr(row, each) for each in proteins)
            numbers = (_plain(row.numbers.get(each.key)) for each in NUMBERS)
            writer.writerow([row.name, *names, *numbers, row.state, row.reason])
    with new_text_file(out / PAGE) as file:
        file.write(screen_html(rows, notice))


def read_screen_table(out: Path) -> list[ScreenRow]:
    """The rows of a screen's folder; versions before this one are read too.

    Raises:
        InputError: There is no such table, or it is damaged.
    """
    _, rows = read_table(out / TABLE)
    return [
        ScreenRow(
            name=row.cells.get("id", ""),
            a=row.cells.get("a", ""),
            b=row.cells.get("b", ""),
            state=row.cells.get("state", ""),
            reason=row.cells.get("reason", ""),
            numbers={each.key: _number(row.cells.get(each.key, "")) for each in NUMBERS},
        )
        for row in rows
    ]


def screen_html(rows: Sequence[ScreenRow], notice: str = "") -> str:
    """The page: it needs no other file but the reports that it links to, and asks for nothing."""
    states = Counter(row.state for row in rows)
    facts = [("Pairs", len(rows)), *((each.title(), states[each]) for each in _STATES)]
    body = Template(resource("screen.html")).substitute(
        notice=f'<p class="notice">{html.escape(notice)}</p>' if notice else "",
        facts="".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts),
        head="\n".join([_head("Pair", "By name"), *map(_head_of, _SHOWN), _head("State", "Done?")]),
        rows="\n".join(map(_row, best_first(rows))),
    )
    return page_html(
        "Screen",
        body,
        styles=["components.css", "report.css", "screen.css"],
        scripts=["screen.js"],
        policy={},
    )


def _head(title: str, meaning: str, first: str = "ascending") -> str:
    """A column's title, which sorts by it; `first` is the order that it begins with."""
    return (
        f'<th scope="col" data-first="{first}"><button type="button" title="{meaning}">'
        f"{title}</button></th>"
    )


def _head_of(measure: Measure) -> str:
    title = f"{measure.name}, {measure.unit}" if measure.unit == "Å" else measure.name
    rising = measure.better != "higher" and measure.unit != YES
    return _head(title, measure.meaning, "ascending" if rising else "descending")


def _row(row: ScreenRow) -> str:
    name = html.escape(row.name)
    shown = name.replace("_", "_<wbr>")
    link = f'<a href="{FOLDER}/{name}/report.html">{shown}</a>' if row.state == "done" else shown
    cells = "".join(_cell(row.numbers.get(each.key), each) for each in _SHOWN)
    return (
        f'<tr><th scope="row">{link}</th>{cells}'
        f'<td class="state {row.state}"><b>{row.state}</b> {html.escape(row.reason)}</td></tr>'
    )


def _cell(value: float | None, measure: Measure) -> str:
    look = ""
    if value is not None and (measure.unit == SHARE or measure.key == "ranking_confidence"):
        look = f' class="share" style="{_BAR}:{min(max(value, 0), 1):.3f}"'
    elif value and measure.unit == YES:
        look = ' class="bad"'
    return f'<td data-value="{_plain(value)}"{look}>{measure.text(value)}</td>'


def _plain(value: float | None) -> str:
    """A number as text with four decimals at most; "" for none."""
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
