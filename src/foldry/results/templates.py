"""The templates of a chain as people and programs read about them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from foldry.errors import counted, printable
from foldry.query import Chain, Query
from foldry.residues import encode_sequence

TEMPLATE_COLUMNS: Final = (
    *("Template", "Chain", "Identity", "Coverage", "Released", "E-value", "Found in its file as"),
)
"""The titles of the fields of `TemplateRow` in tables."""
MAX_LEFT_OUT: Final = 100
"""Maximum number of left-out hits in a table."""
_SHOWN: Final = 3
"""Maximum number of templates that a line names."""


@dataclass(frozen=True)
class TemplateRow:
    """A template in tables.

    Attributes:
        entry, chain: The known structure, and its chain.
        identity: Fraction of the aligned residues that are equal, 0–1; None without a structure.
        coverage: Fraction of the query's residues that are aligned, 0–1.
        released: Date of the first release; None if unknown.
        e_value, probability: E-value and probability of the search; None if unknown.
        how: How a search found it in its chain; "given" if no search found it.
    """

    entry: str
    chain: str
    identity: float | None
    coverage: float
    released: str | None
    e_value: float | None
    probability: float | None
    how: str


def template_rows(chain: Chain) -> list[TemplateRow]:
    """Return the templates of a chain, best first."""
    codes = encode_sequence(chain.sequence)
    rows = []
    for hit in chain.templates:
        here, there = hit.pairs.T
        identity = hit.identity
        if identity is None and hit.structure is not None and len(hit.pairs):
            identity = float(np.mean(codes[here] == hit.structure.aatype[there]))
        coverage = len(np.unique(here)) / len(codes) if hit.coverage is None else hit.coverage
        entry, _, name = hit.name.rpartition("_")
        how, date = hit.how or "given", hit.release_date
        scores = coverage, date, hit.e_value, hit.probability, how
        rows.append(TemplateRow(entry, name, identity, *scores))
    return rows


def cells(row: TemplateRow) -> list[str]:
    """Return the texts of a row under `TEMPLATE_COLUMNS`."""
    return [
        printable(row.entry),
        printable(row.chain),
        "–" if row.identity is None else share(row.identity),
        share(row.coverage),
        printable(row.released or "unknown"),
        "–" if row.e_value is None else f"{row.e_value:.2g}",
        row.how,
    ]


def share(value: float) -> str:
    """Return a share as text, such as `62 %`."""
    return f"{100 * value:.0f} %"


def tables(query: Query) -> dict[str, object]:
    """Return the templates of all chains, and the first hits that were left out, for a page."""
    named = [(", ".join(chain.ids), chain) for chain in query.chains]
    left_out = [(name, *each) for name, chain in named for each in chain.left_out]
    return {
        "header": ["For chain", *TEMPLATE_COLUMNS],
        "rows": [[name, *cells(row)] for name, chain in named for row in template_rows(chain)],
        "leftOut": [list(map(printable, each)) for each in left_out[:MAX_LEFT_OUT]],
        "numLeftOut": len(left_out),
    }


def template_lines(query: Query, asked: Query) -> list[str]:
    """Return what the search for templates found for each chain, one line each.

    Args:
        query: The query after the search.
        asked: The query before it: templates that it has are said to be given, and chains that came
            with an empty list of them are left out.

    Example:
        >>> from foldry.query import Hit
        >>> hit = Hit("1abc_A", np.array([[0, 0], [1, 1]]), identity=0.5, e_value=1e-9)
        >>> bare = Query("q", (Chain(("A",), "MKT"),))
        >>> template_lines(Query("q", (Chain(("A",), "MKT", templates=(hit,)),)), bare)
        ['q, chain A: 1 template: 1abc_A (50 % identical, covers 67 %, E-value 1e-09).']
    """
    lines = []
    for chain, before in zip(query.chains, asked.chains, strict=True):
        is_given = bool(before.templates)
        if is_given or chain.templates or (chain.templates_known and not before.templates_known):
            place = f"{query.name}, chain{'s' if chain.ids[1:] else ''} {', '.join(chain.ids)}"
            line = _line(template_rows(chain), chain.left_out, is_given=is_given)
            lines.append(f"{place}: {line}.")
    return lines


def _line(
    rows: Sequence[TemplateRow], left_out: Sequence[tuple[str, str]], *, is_given: bool
) -> str:
    if rows:
        named = ", ".join(map(_named, rows[:_SHOWN]))
        more = f" and {len(rows) - _SHOWN} more" if rows[_SHOWN:] else ""
        return f"{counted(len(rows), 'template')}{' given' * is_given}: {named}{more}"
    if not left_out:
        return "no template"
    kinds = [_kind(reason) for _, reason in left_out]
    most, number = Counter(kinds).most_common(1)[0]
    name, reason = left_out[kinds.index(most)]
    like = f", {'all' if number == len(kinds) else number} like" if kinds[1:] else ":"
    return f"no template; {counted(len(kinds), 'hit')} left out{like} {name}, which {reason}"


def _kind(reason: str) -> str:
    """Return what reasons of one kind have in common: their first words, without numbers."""
    return " ".join(re.sub(r"\d", "", reason).split()[:3])


def _named(row: TemplateRow) -> str:
    about = f"covers {share(row.coverage)}"
    if row.identity is not None:
        about = f"{share(row.identity)} identical, {about}"
    if row.e_value is not None:
        about += f", E-value {row.e_value:.2g}"
    return f"{row.entry}_{row.chain} ({about})"
