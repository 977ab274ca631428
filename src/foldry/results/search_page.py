"""The page of a search: how deep the alignments are, the hits, and the templates.

It consists of search.html, search.css, search.js and the style of the report. Everything but the
coverage plots can be read without JavaScript.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from string import Template
from typing import Final

import numpy as np

from foldry.errors import printable
from foldry.measures import MEASURES
from foldry.query import GAP_LETTER, Chain, Query
from foldry.results.coverage import coverage, identities, identity_map
from foldry.results.depth import ChainSummary, Rows, joined, rows_of, summary, warnings
from foldry.results.embedded import script_json
from foldry.results.page import page_html, resource
from foldry.results.templates import (
    MAX_LEFT_OUT,
    TEMPLATE_COLUMNS,
    TemplateRow,
    cells,
    share,
    template_rows,
)
from foldry.search.result import Found, FoundTemplates, SearchResult

MAX_HITS: Final = 100
"""Maximum hits of a chain that the page lists."""
_MAX_NAME: Final = 60
"""Maximum characters of a hit's name that the page shows."""
_MAX_DESCRIPTION: Final = 200
"""Maximum characters of a hit's description that the page shows."""
_MEASURES: Final = ("depth", "neff", "median_depth", "well_covered", "species", "paired_rows")


def search_html(result: SearchResult) -> str:
    """Return the HTML of a page about the search, which makes no request.

    Raises:
        InputError: As for `summary`.
    """
    query, chains = result.query, summary(result)
    rows = list(map(rows_of, query.chains, result.found))
    maps = [
        coverage([identity_map(chain.sequence, [each.letters])])
        for chain, each in zip(query.chains, rows, strict=True)
    ]
    data = [
        {"id": chain.ids[0], "sequence": chain.sequence, "coverage": each}
        for chain, each in zip(query.chains, maps, strict=True)
    ]
    body = Template(resource("search.html")).substitute(
        name=_escaped(query.name),
        facts="".join(
            f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in _facts(result)
        ),
        warnings=_list_of(warnings(result)),
        summary=_summary_table(chains),
        chains="\n".join(_section(number, result, each) for number, each in enumerate(rows)),
        file=_escaped(query_file(query)),
        content="alignments" if query.paired_by_row else "alignments and templates",
        data=script_json(data),
    )
    return page_html(
        f"{query.name}, search",
        body,
        styles=["components.css", "report.css", "search.css"],
        scripts=["components.js", "embedded.js", "search.js"],
        policy={},
    )


def _facts(result: SearchResult) -> Iterator[tuple[str, str]]:
    query = result.query
    several = f" in {query.num_chains} chains" if query.num_chains > 1 else ""
    depths = [each.depth for each in summary(result)]
    databases = result.databases()
    yield "Residues", f"{query.num_residues}{several}"
    yield "Aligned sequences", "–".join(map(str, sorted({min(depths), max(depths)})))
    if any(map(result.templates_of, range(len(query.chains)))):
        yield "Templates", str(sum(len(chain.templates) for chain in query.chains))
    yield "Recipe", _escaped(result.recipe)
    yield "Databases", _escaped(", ".join(databases) or "none searched")


def _list_of(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{_escaped(each)}</li>" for each in texts)
    return f'<ul class="notice">{items}</ul>' if items else ""


def _summary_table(chains: Sequence[ChainSummary]) -> str:
    """Return a table of the measures of all chains, and their meanings."""
    shown = [
        MEASURES[key]
        for key in _MEASURES
        if any(getattr(chain, key) is not None for chain in chains)
    ]
    rows = [
        [
            joined(chain.ids),
            str(chain.residues),
            *(each.text(getattr(chain, each.key)) for each in shown),
        ]
        for chain in chains
    ]
    header = ["Chain", "Residues", *(each.name for each in shown)]
    meanings = "".join(
        f"<div><dt>{each.name}</dt><dd>{_escaped(each.meaning)}.</dd></div>" for each in shown
    )
    return f'{_table("Chains", header, rows)}<dl class="meaning">{meanings}</dl>'


def _section(number: int, result: SearchResult, rows: Rows) -> str:
    """Return the part of the page about one chain."""
    chain, found = result.query.chains[number], result.found[number]
    title = f"{'Chains' if chain.ids[1:] else 'Chain'} {joined(chain.ids)}"
    parts = [f'<h2 id="title-{number}">{title}</h2>']
    if not found:
        how = "came with an alignment" if chain.alignments else "has no alignment"
        parts.append(f'<p class="about">This chain {how}: none was searched for.</p>')
    has_hits = len(rows.letters) > 1
    if has_hits:
        parts.append(f'<div class="coverage" data-chain="{number}"></div>')
    if found:
        parts += ["<h3>Databases</h3>", _search_table(found, rows)]
    if has_hits:
        parts += ["<h3>Hits</h3>", _hit_table(chain, found, rows)]
    parts += _templates(chain, result.templates_of(number))
    content = "\n".join(parts)
    return f'<section class="full foldry" aria-labelledby="title-{number}">\n{content}\n</section>'


def _search_table(found: Sequence[Found], rows: Rows) -> str:
    """Return a table of the searches for one chain."""
    counts = [int((each.alignment.letters != GAP_LETTER).any(axis=1).sum()) - 1 for each in found]
    new = np.bincount(rows.search[1:], minlength=len(found)).tolist()
    most = max(1, *counts)
    cells = []
    for each, count, fresh in zip(found, counts, new, strict=False):
        limit = each.step.max_rows
        at_limit = " (limit)" if limit is not None and each.alignment.num_rows >= limit else ""
        seconds = each.seconds
        cells.append(
            [
                _escaped(_database(each)),
                _escaped(each.step.engine),
                _bar(count / most, f"{count}{at_limit}"),
                _bar(fresh / most, str(fresh)),
                "kept from an earlier search" if seconds is None else f"{seconds:.1f} s",
            ]
        )
    about = (
        '<p class="about">New hits differ from the query and from the hits above. The time '
        "includes all chains that were searched for together.</p>"
    )
    return about + _table("Databases", ["Database", "Engine", "Hits", "New", "Time"], cells)


def _hit_table(chain: Chain, found: Sequence[Found], rows: Rows) -> str:
    """Return a table of the first hits of one chain."""
    letters = rows.letters[1 : MAX_HITS + 1]
    hits, descriptions = zip(*map(_split, rows.headers[1 : MAX_HITS + 1]), strict=True)
    sources = [*map(_database, found), "given"]
    columns = {
        "Name": [_clipped(each, _MAX_NAME) for each in hits],
        "Identity": list(map(_share, identities(chain.sequence, letters).tolist())),
        "Coverage": list(map(_share, (letters != GAP_LETTER).mean(axis=1).tolist())),
    }
    if found:
        columns["Database"] = [_escaped(sources[each]) for each in rows.search[1 : MAX_HITS + 1]]
    if any(descriptions):
        columns["Description"] = list(map(_description, descriptions))
    number = len(rows.letters) - 1
    which = f"The first {MAX_HITS} of {number} hits" if number > MAX_HITS else "All hits"
    about = (
        f'<p class="about">{which}, in the order of the alignment. Identity is the share of the '
        "hit’s residues that equal the query’s, coverage the share of the query’s residues that "
        "are aligned.</p>"
    )
    return about + _table("Hits", list(columns), zip(*columns.values(), strict=True), "wide long")


def _templates(chain: Chain, search: FoundTemplates | None) -> Iterator[str]:
    """Yield a table of the templates of one chain, and one of the hits left out."""
    if search is None and not chain.templates:
        return
    yield "<h3>Templates</h3>"
    if search is None:
        yield '<p class="about">The templates came with the chain.</p>'
    else:
        seconds = "kept from an earlier search"
        if search.seconds is not None:
            seconds = f"{search.seconds:.1f} s for all chains searched together"
        where = f"{search.step.engine} on {', '.join(search.step.databases)}, {seconds}"
        found = "" if chain.templates else "No template was found. "
        yield f'<p class="about">{found}{_escaped(where)}.</p>'
    if chain.templates:
        rows = map(_template_cells, template_rows(chain))
        yield _table("Templates", list(TEMPLATE_COLUMNS), rows, "wide names")
    if chain.left_out:
        number = len(chain.left_out)
        most = MAX_LEFT_OUT
        which = f"the first {most} of {number}" if number > most else str(number)
        others = [
            [_clipped(name, _MAX_NAME), _description(reason)]
            for name, reason in chain.left_out[:most]
        ]
        yield f"<details><summary>Hits left out: {which}</summary>"
        yield _table("Hits left out", ["Hit", "Reason"], others, "wide long")
        yield "</details>"


def _template_cells(row: TemplateRow) -> list[str]:
    texts = [_clipped(each, _MAX_NAME) for each in cells(row)]
    if row.identity is not None:
        texts[2] = _share(row.identity)
    texts[3] = _share(row.coverage)
    return texts


def _split(header: str) -> tuple[str, str]:
    """Return the name and the description in the header of a row."""
    name, _, description = header.strip().partition(" ")
    return name or "–", description.strip()


def _share(value: float) -> str:
    """Return the content of a cell that shows a share."""
    return _bar(value, share(value))


def _database(found: Found) -> str:
    """Return the names of the databases of a search, and what its rows are for."""
    return ", ".join(found.step.databases) + (" (for pairing)" if found.for_pairing else "")


def _bar(share: float, text: str) -> str:
    """Return the content of a cell with a bar."""
    return f'<span class="share" style="--share:{share:.3f}">{text}</span>'


def _table(
    label: str, header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "wide"
) -> str:
    """Return a table; its cells are HTML."""
    head = "".join(f'<th scope="col">{each}</th>' for each in header)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _description(text: str) -> str:
    """Return the content of a cell with a longer text."""
    return f'<span class="description">{_clipped(text, _MAX_DESCRIPTION)}</span>'


def _clipped(text: str, most: int) -> str:
    return _escaped(text if len(text) <= most else f"{text[: most - 1]}…")


def _escaped(text: str) -> str:
    """Return a text of a file as HTML, without control characters."""
    return html.escape(printable(text))


def query_file(query: Query) -> str:
    """Return the name of the file of the query and its alignments."""
    return f"{query.name}.{'a3m' if query.paired_by_row else 'json'}"
