"""Many pairs of proteins, one after the other, and a table of what became of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from foldry.errors import FoldryError, InputError
from foldry.formats.sequence import chain_names
from foldry.inputs.pairs import Pair
from foldry.predict.confidence import of_complex
from foldry.predict.network import networks_for
from foldry.predict.runner import Outcome, Progress, run
from foldry.predict.settings import Settings
from foldry.results.folder import ResultsFolder, StoredInterface, is_published, read_results
from foldry.results.report import viewer_js
from foldry.results.screen import FOLDER, VIEWER, ScreenRow, read_screen_table, write_screen
from foldry.store.files import write_bytes
from foldry.store.locks import hold

_OF_INTERFACE: Final = ("ipsae", "pdockq", "lis", "interface_pae", "contacts")
WRITE_EVERY: Final = 10.0
"""Seconds between two tables at least: one of thousands of pairs takes as long as a small pair."""


def run_screen(
    pairs: Sequence[Pair],
    out: Path,
    settings: Settings,
    progress: Progress | None = None,
    say: Callable[[FoldryError], str] = str,
) -> list[ScreenRow]:
    """Predict every pair; one that fails is a row that says why and stops nothing.

    The table and its page are written again as pairs are computed, `WRITE_EVERY` seconds apart at
    least, and at the end. Pairs that an earlier run finished come first and are not computed again.

    Args:
        pairs: Of different names.
        out: Folder; made where it is missing.
        settings: As of `runner.run`.
        progress: Is called with the pair that is computed, and of how many.
        say: What the table says of an error.

    Returns:
        A row for each pair, in their order.

    Raises:
        InputError: The weights are not usable for complexes; nothing has been written by then.
        BusyError: Another screen is at work in the folder.
        DiskFullError: No space is left for the results.
    """
    networks_for(pairs[0].query, settings)
    with hold(out):
        return _run_screen(pairs, out, settings, progress, say)


def _run_screen(
    pairs: Sequence[Pair],
    out: Path,
    settings: Settings,
    progress: Progress | None,
    say: Callable[[FoldryError], str],
) -> list[ScreenRow]:
    """As `run_screen`, in a folder that is held."""
    seconds = _seconds(out)
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
    outcomes = run((pair.query for pair in waiting), settings, [folder], progress=in_pairs)
    notice, written, is_new = "", -math.inf, True
    try:
        for number, pair in enumerate(waiting):  # noqa: B007  (in_pairs reads it)
            name, start = pair.query.name, time.monotonic()
            outcome = next(outcomes)
            computed = outcome.status != "resumed"
            took = time.monotonic() - start if computed else seconds.get(name)
            notice = outcome.notice or notice
            rows[name] = _ended(rows[name], pair, outcome, took, folder.out, say)
            is_new = True
            if computed and time.monotonic() - written >= WRITE_EVERY:
                write_screen(list(rows.values()), out, notice)
                written, is_new = time.monotonic(), False
    finally:  # also of what was only found finished before an interruption
        if is_new:
            write_screen(list(rows.values()), out, notice)
    return list(rows.values())


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
    """The numbers of a pair's best prediction, from its folder.

    Those of an interface are of the two chains, one of each protein, with the highest ipSAE, and
    pDockQ2 is of the higher chain. Where a protein has several chains, ipTM and the ranking are of
    that interface too: the whole complex's would praise how a bait's own chains fit.
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
    """Whether one chain is of the first protein, whose chains are named first, and one is not."""
    first = set(chain_names(pair.num_first))
    return not pair.num_first or len(first & set(interface.chains)) == 1


def _seconds(out: Path) -> dict[str, float]:
    """What pairs took in an earlier run, by its table; nothing where that is missing or damaged."""
    try:
        took = {row.name: row.numbers["seconds"] for row in read_screen_table(out)}
    except InputError:
        return {}
    return {name: seconds for name, seconds in took.items() if seconds is not None}
