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
from foldry.results.page import page_html, resource, script_source
from foldry.store.files import new_text_file

TABLE: Final = "screen.csv"
PAGE: Final = "screen.html"
FOLDER: Final = "pairs"
"""Where each pair has its folder, with the files of a query."""

_SHARE: Final = "--share"
"""The CSS variable that a bar's length follows."""
_STATES: Final = ("done", "failed", "waiting")


@dataclass(frozen=True)
class Column:
    """One number of the table.

    Attributes:
        key: Its name in the CSV file.
        title, meaning: For people; the meaning is one line.
        decimals: How many the page shows.
        is_share: Whether it is from 0 to 1, and drawn as a bar.
        is_yes: Whether it is 1 for yes and 0 for no.
    """

    key: str
    title: str
    meaning: str
    decimals: int = 2
    is_share: bool = False
    is_yes: bool = False

    def text(self, value: float | None) -> str:
        """A value for people."""
        if value is None:
            return "–"
        return ("yes" if value else "no") if self.is_yes else f"{value:.{self.decimals}f}"


MEASURES: Final = (
    Column("ranking_confidence", "Ranking", "0.8 ipTM + 0.2 pTM", is_share=True),
    Column("iptm", "ipTM", "Predicted TM-score between the proteins", is_share=True),
    Column("ptm", "pTM", "Predicted TM-score of the whole", is_share=True),
    Column("ipsae", "ipSAE", "ipTM of the pairs of residues that are sure", is_share=True),
    Column("pdockq", "pDockQ", "Expected DockQ, by pLDDT and contacts", is_share=True),
    Column("pdockq2", "pDockQ2", "Expected DockQ, by pLDDT and PAE of contacts", is_share=True),
    Column("lis", "LIS", "Local interaction score", is_share=True),
    Column("interface_pae", "PAE, Å", "Mean predicted aligned error of contacts", 1),
    Column("contacts", "Contacts", "Pairs of residues with Cβ at most 8 Å apart", 0),
    Column(
        "has_clash",
        "Clash",
        "Too many atoms of a chain are less than 1.1 Å from others",
        is_yes=True,
    ),
    Column("mean_plddt", "pLDDT", "Mean over all residues", 1),
)
SECONDS: Final = Column("seconds", "Seconds", "What the prediction took", 0)
RESIDUES: Final = Column("residues", "Residues", "Of all chains", 0)
NUMBERS: Final = (RESIDUES, *MEASURES, SECONDS)
"""In the order of the CSV file."""


@dataclass(frozen=True)
class ScreenRow:
    """One pair.

    Attributes:
        name: The query's name, which is that of its folder.
        a, b: The two proteins; "" for a complex that was given as one sequence.
        residues: Of all chains.
        state: `done`, `failed` or `waiting`.
        reason: Why it failed, in one sentence.
        error: Why it failed.
        seconds: What it took, or None.
        measures: Of the best prediction, by the key of `MEASURES`; None where there is none.
    """

    name: str
    a: str
    b: str
    residues: int
    state: str = "waiting"
    reason: str = ""
    error: FoldryError | None = None
    seconds: float | None = None
    measures: dict[str, float | None] = field(default_factory=dict)

    def number(self, column: Column) -> float | None:
        """What stands in one of the columns of numbers."""
        if column is RESIDUES:
            return self.residues
        return self.seconds if column is SECONDS else self.measures.get(column.key)


def best_first(rows: Sequence[ScreenRow]) -> list[ScreenRow]:
    """By ranking confidence; then those that failed and those that wait, in their order."""

    def key(row: ScreenRow) -> tuple[int, float]:
        return _STATES.index(row.state), -(row.measures.get("ranking_confidence") or 0)

    return sorted(rows, key=key)


def write_screen(rows: Sequence[ScreenRow], out: Path, notice: str = "") -> None:
    """Write both files, each of them whole at any time.

    The CSV file has the columns `a` and `b` where any row names its proteins.

    Args:
        rows: In the order of the CSV file; the page begins with the best.
        out: Folder; it exists.
        notice: What every reader must be told of the predictions, or "".
    """
    with new_text_file(out / TABLE) as file:
        writer = csv.writer(file, lineterminator="\n")
        proteins = ("a", "b") if any(row.a for row in rows) else ()
        keys = (each.key for each in NUMBERS)
        writer.writerow(["id", *proteins, *keys, "state", "reason"])
        for row in rows:
            names = (getattr(row, each) for each in proteins)
            numbers = (_plain(row.number(each)) for each in NUMBERS)
            writer.writerow([row.name, *names, *numbers, row.state, row.reason])
    with new_text_file(out / PAGE) as file:
        file.write(screen_html(rows, notice))


def screen_html(rows: Sequence[ScreenRow], notice: str = "") -> str:
    """The page: it needs no other file but the reports that it links to, and asks for nothing."""
    script = resource("screen.js")
    states = Counter(row.state for row in rows)
    facts = [("Pairs", len(rows)), *((each.title(), states[each]) for each in _STATES)]
    columns = (*MEASURES, RESIDUES, SECONDS)
    body = Template(resource("screen.html")).substitute(
        script=script,
        notice=f'<p class="notice">{html.escape(notice)}</p>' if notice else "",
        facts="".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts),
        head="\n".join(
            [_head("Pair", "By name"), *map(_head_of, columns), _head("State", "Done?")]
        ),
        rows="\n".join(_row(row, columns) for row in best_first(rows)),
    )
    return page_html(
        "Screen",
        body,
        styles=["report.css", "screen.css"],
        policy={"script-src": script_source(script)},
    )


def _head(title: str, meaning: str, first: str = "ascending") -> str:
    """A column's title, which sorts by it; `first` is the order that it begins with."""
    return (
        f'<th scope="col" data-first="{first}"><button type="button" title="{meaning}">'
        f"{title}</button></th>"
    )


def _head_of(column: Column) -> str:
    rising = column.key in ("interface_pae", "residues", "seconds")
    return _head(column.title, column.meaning, "ascending" if rising else "descending")


def _row(row: ScreenRow, columns: Sequence[Column]) -> str:
    name = html.escape(row.name)
    shown = name.replace("_", "_<wbr>")
    link = f'<a href="{FOLDER}/{name}/report.html">{shown}</a>' if row.state == "done" else shown
    cells = "".join(_cell(row.number(column), column) for column in columns)
    return (
        f'<tr><th scope="row">{link}</th>{cells}'
        f'<td class="state {row.state}"><b>{row.state}</b> {html.escape(row.reason)}</td></tr>'
    )


def _cell(value: float | None, column: Column) -> str:
    if value is None:
        return f'<td data-value="">{column.text(value)}</td>'
    look = ""
    if column.is_share:
        look = f' class="share" style="{_SHARE}:{min(max(value, 0), 1):.3f}"'
    elif column.is_yes and value:
        look = ' class="bad"'
    return f'<td data-value="{_plain(value)}"{look}>{column.text(value)}</td>'


def _plain(value: float | None) -> str:
    """A number as text with four decimals at most; "" for none."""
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
