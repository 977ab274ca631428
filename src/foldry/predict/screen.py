"""A screen: many pairs of proteins, predicted one after the other and listed in a table."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from foldry.errors import FoldryError, InputError
from foldry.features.pairing import align_complex
from foldry.formats.sequence import chain_names
from foldry.inputs.pairs import Pair
from foldry.predict.confidence import of_complex
from foldry.predict.network import networks_for
from foldry.predict.parallel import run_groups
from foldry.predict.runner import Outcome, Progress, Publisher
from foldry.predict.settings import Settings
from foldry.predict.workers import Worker
from foldry.results.folder import ResultsFolder, StoredInterface, is_published, read_results
from foldry.results.report import viewer_js
from foldry.results.screen import FOLDER, VIEWER, ScreenRow, read_screen_table, write_screen
from foldry.search.ahead import SEARCHING, searched_ahead
from foldry.search.search import Search
from foldry.store.files import write_bytes
from foldry.store.locks import hold

logger = logging.getLogger(__name__)

_OF_INTERFACE: Final = ("ipsae", "pdockq", "lis", "interface_pae", "contacts")
WRITE_EVERY: Final = 10.0
"""Minimum seconds between two tables: writing thousands of rows takes as long as a small pair."""


def run_screen(
    pairs: Sequence[Pair],
    out: Path,
    settings: Settings,
    progress: Progress | None = None,
    say: Callable[[FoldryError], str] = str,
    workers: Sequence[Worker] = (),
    search: Search | None = None,
    publishers: Sequence[Publisher] = (),
) -> list[ScreenRow]:
    """Predict every pair; a failed pair is a row with the reason and does not stop the screen.

    The table and its page are written at the end and, at most every `WRITE_EVERY` seconds, while
    pairs are computed. Pairs that an earlier run finished come first and are not computed again.

    Args:
        pairs: Pairs with different names.
        out: Folder, created if missing.
        settings: Settings of all pairs.
        progress: Called with the current pair, the number of finished pairs and their total.
        say: Returns the text of an error in the table.
        workers: Processes that predict the pairs; without any, this process does.
        search: Runs ahead, for the chains that have no alignment; None leaves them as they are.
        publishers: Get every pair after its folder is written.

    Returns:
        A row for each pair, in the order of `pairs`.

    Raises:
        InputError: The weights are not usable for complexes; nothing was written.
        BusyError: Another screen uses the folder.
        DiskFullError: No space is left for the results.
    """
    networks_for(pairs[0].query, settings)
    with hold(out):
        return _run_screen(pairs, out, settings, progress, say, workers, search, publishers)


def _run_screen(
    pairs: Sequence[Pair],
    out: Path,
    settings: Settings,
    progress: Progress | None,
    say: Callable[[FoldryError], str],
    workers: Sequence[Worker],
    search: Search | None,
    publishers: Sequence[Publisher],
) -> list[ScreenRow]:
    """Do the work of `run_screen` in a folder that is held."""
    earlier = _earlier(out)
    if others := earlier.keys() - {pair.query.name for pair in pairs}:
        logger.warning(
            "The table of another screen in %s is replaced. Pairs that are not in this screen: %d, "
            "e.g. %s. Their folders remain.",
            out,
            len(others),
            min(others),
        )
    rows = {
        pair.query.name: ScreenRow(
            pair.query.name, pair.a, pair.b, numbers={"residues": pair.query.num_residues}
        )
        for pair in pairs
    }
    waiting = sorted(pairs, key=lambda pair: not is_published(out / FOLDER / pair.query.name))
    number = 0

    def in_pairs(what: str, _finished: int, _total: int) -> None:
        if progress is not None:
            progress(what, number, len(pairs))

    write_bytes(out / VIEWER, viewer_js())
    folder = ResultsFolder(out / FOLDER, force=settings.force, viewer=f"../../{VIEWER}")
    queries = [pair.query for pair in waiting]
    notice, written, is_new = "", -math.inf, True
    try:
        with searched_ahead(queries, search, partial(in_pairs, SEARCHING)) as groups:
            to = [folder, *publishers]
            ended = run_groups(groups, len(queries), settings, to, workers, in_pairs)
            for number, asked in enumerate(waiting):  # noqa: B007  (in_pairs reads it)
                query, outcome = next(ended)
                name, pair = query.name, asked._replace(query=query)
                computed = outcome.status != "already done"
                before = None if computed else earlier.get(name)
                took: float | None = outcome.seconds
                if not computed:
                    took = before.numbers["seconds"] if before else None
                notice = outcome.notice or notice
                if outcome.error is None:
                    rows[name] = _with_rows(rows[name], pair, settings, before)
                row = replace(rows[name], is_new=computed)
                rows[name] = _ended(row, pair, outcome, took, folder.out, say)
                is_new = True
                if computed and time.monotonic() - written >= WRITE_EVERY:
                    write_screen(list(rows.values()), out, notice)
                    written, is_new = time.monotonic(), False
    finally:  # an interruption must not lose rows
        if is_new:
            write_screen(list(rows.values()), out, notice)
    return list(rows.values())


def _with_rows(
    row: ScreenRow, pair: Pair, settings: Settings, before: ScreenRow | None
) -> ScreenRow:
    """Return the row with the numbers of alignment rows, if possible from an earlier table."""
    if before is not None and before.depths:
        number, depths = before.numbers["paired_rows"], before.depths
    else:
        report = align_complex(pair.query, settings.pairing).report
        number, depths = report.num_paired, report.depths
    return replace(row, numbers=row.numbers | {"paired_rows": number}, depths=depths)


def _ended(
    row: ScreenRow,
    pair: Pair,
    outcome: Outcome,
    seconds: float | None,
    folder: Path,
    say: Callable[[FoldryError], str],
) -> ScreenRow:
    numbers = row.numbers | {"seconds": seconds}
    error = outcome.error
    try:
        if error is None:
            numbers |= measures(folder / pair.query.name, pair)
            return replace(row, state="done", numbers=numbers)
    except FoldryError as fault:  # another process may be replacing the files
        error = fault
    return replace(row, state="failed", error=error, reason=say(error), numbers=numbers)


def measures(folder: Path, pair: Pair) -> dict[str, float | None]:
    """Return the numbers of a pair's best prediction, from its folder.

    Measures of an interface describe the two chains, one of each protein, with the highest ipSAE;
    pDockQ2 is the higher one of these chains. If a protein has several chains, ipTM and the ranking
    describe this interface too, because those of the whole complex also count the interfaces
    within the protein.
    """
    [best] = read_results(folder, most=1)
    if best.provenance is None:
        raise InputError("has no scores", "predict the pair again", where=folder)
    found = dict(best.numbers)
    between = [each for each in best.interfaces if _is_between(each, pair)]
    if not between:
        return found
    interface = max(between, key=lambda each: each.number("ipsae") or 0)
    pdockq2 = [best.chains[name]["pdockq2"] for name in interface.chains]
    iptm, ptm = interface.number("iptm"), found["ptm"]
    if pair.num_first and pair.query.num_chains > 2 and iptm is not None and ptm is not None:
        found |= {"iptm": iptm, "ranking_confidence": of_complex(iptm, ptm)}
    return found | {
        **{key: interface.number(key) for key in _OF_INTERFACE},
        "pdockq2": max((each for each in pdockq2 if each is not None), default=None),
    }


def _is_between(interface: StoredInterface, pair: Pair) -> bool:
    """Return whether exactly one chain is of the first protein, whose chains are named first."""
    first = set(chain_names(pair.num_first))
    return not pair.num_first or len(first & set(interface.chains)) == 1


def _earlier(out: Path) -> dict[str, ScreenRow]:
    """Return the rows of an earlier table by name; empty if it is missing or damaged."""
    try:
        return {row.name: row for row in read_screen_table(out)}
    except InputError:
        return {}
