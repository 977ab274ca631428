"""The pairs of a screen as a CSV file and as a page with a sortable table.

The page consists of screen.html, screen.js, screen.css and the style of the report.
"""

from __future__ import annotations

import csv
import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final

from foldry.errors import FoldryError
from foldry.formats.table import TableRow, read_table, safe_cell
from foldry.measures import MEASURES, SHARE, YES, Measure
from foldry.results.page import page_html, resource
from foldry.store.files import new_text_file

TABLE: Final = "screen.csv"
PAGE: Final = "screen.html"
FOLDER: Final = "pairs"
"""Folder with one folder of results per pair."""
VIEWER: Final = "viewer.js"
"""The 3D viewer, which the reports of all pairs share."""

_SHOWN: Final = tuple(
    MEASURES[key]
    for key in (
        *("ranking_confidence", "iptm", "ptm", "ipsae", "pdockq", "pdockq2", "lis"),
        *("interface_pae", "contacts", "has_clash", "mean_plddt", "residues", "paired_rows"),
        "seconds",
    )
)
NUMBERS: Final = (MEASURES["residues"], *(each for each in _SHOWN if each.key != "residues"))
"""Measures in the order of the CSV file."""
_BAR: Final = "--share"
"""The CSS variable that sets the length of a bar."""
_STATES: Final = ("done", "failed", "waiting")


@dataclass(frozen=True)
class ScreenRow:
    """One pair.

    Attributes:
        name: Name of the query and of its folder.
        a, b: Names of the two proteins; "" for a complex that was given as one sequence.
        state: `done`, `failed` or `waiting`.
        reason: Why the pair failed, in one sentence.
        error: Why the pair failed; None if the row was read from a file.
        numbers: Measures by key, of the pair and of its best prediction if there is one.
        depths: Number of different rows in the alignment of each distinct chain, query included.
        is_new: Whether this run predicted the pair; not in the files.
    """

    name: str
    a: str
    b: str
    state: str = "waiting"
    reason: str = ""
    error: FoldryError | None = None
    numbers: dict[str, float | None] = field(default_factory=dict)
    depths: tuple[int, ...] = ()
    is_new: bool = False


def best_first(rows: Sequence[ScreenRow]) -> list[ScreenRow]:
    """Return the rows by falling ranking confidence, then failed and waiting rows in order."""

    def key(row: ScreenRow) -> tuple[int, float]:
        return _STATES.index(row.state), -(row.numbers.get("ranking_confidence") or 0)

    return sorted(rows, key=key)


def write_screen(rows: Sequence[ScreenRow], out: Path, notice: str = "") -> None:
    """Write the CSV file and the page, each of which is complete at any time.

    The CSV file has the columns `a` and `b` if any row names its proteins.

    Args:
        rows: Rows in the order of the CSV file; the page sorts them best first.
        out: An existing folder.
        notice: A warning for all readers of the predictions, or "".
    """
    with new_text_file(out / TABLE) as file:
        writer = csv.writer(file, lineterminator="\n")
        proteins = ("a", "b") if any(row.a for row in rows) else ()
        keys = [each.key for each in NUMBERS]
        writer.writerow(["id", *proteins, *keys, "depths", "state", "reason"])
        for row in rows:
            names = (safe_cell(name) for name in (row.name, *(getattr(row, p) for p in proteins)))
            numbers = (_plain(row.numbers.get(each.key)) for each in NUMBERS)
            cells = [*names, *numbers, _depths(row), row.state, safe_cell(row.reason)]
            writer.writerow(cells)
    with new_text_file(out / PAGE) as file:
        file.write(screen_html(rows, notice))


def read_screen_table(out: Path) -> list[ScreenRow]:
    """Read the rows of a screen's table, also of earlier versions.

    Raises:
        InputError: The table is missing or damaged.
    """

    def text(row: TableRow, column: str) -> str:
        return row.cells.get(column, "").removeprefix("'")  # of `safe_cell`

    _, rows = read_table(out / TABLE)
    return [
        ScreenRow(
            name=text(row, "id"),
            a=text(row, "a"),
            b=text(row, "b"),
            state=text(row, "state"),
            reason=text(row, "reason"),
            numbers={each.key: _number(row.cells.get(each.key, "")) for each in NUMBERS},
            depths=tuple(map(int, re.findall(r"\d{1,9}", text(row, "depths")))),
        )
        for row in rows
    ]


def screen_html(rows: Sequence[ScreenRow], notice: str = "") -> str:
    """Return the HTML of the page, which needs no other files than the reports it links to."""
    states = Counter(row.state for row in rows)
    facts = [("Pairs", len(rows)), *((each.title(), states[each]) for each in _STATES)]
    body = Template(resource("screen.html")).substitute(
        notice=f'<p class="notice">{html.escape(notice)}</p>' if notice else "",
        facts="".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts),
        head="\n".join(
            [
                _head("Pair", "By name"),
                *map(_head_of, _SHOWN),
                _head("Depth", "Rows in the alignment of each chain", "descending"),
                _head("State", "By state"),
            ]
        ),
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
    """Return a header cell that sorts by its column, at first in the order `first`."""
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
        f'<td data-value="{min(row.depths, default="")}">{_depths(row)}</td>'
        f'<td class="state {row.state}"><b>{row.state}</b> {html.escape(row.reason)}</td></tr>'
    )


def _cell(value: float | None, measure: Measure) -> str:
    look = ""
    if value is not None and (measure.unit == SHARE or measure.key == "ranking_confidence"):
        look = f' class="share" style="{_BAR}:{min(max(value, 0), 1):.3f}"'
    elif value and measure.unit == YES:
        look = ' class="bad"'
    return f'<td data-value="{_plain(value)}"{look}>{measure.text(value)}</td>'


def _depths(row: ScreenRow) -> str:
    return ", ".join(map(str, row.depths))


def _plain(value: float | None) -> str:
    """Return a number as text with at most four decimals; "" for None."""
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
