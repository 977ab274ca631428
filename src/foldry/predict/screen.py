"""Many pairs of proteins, one after the other, and a table of what became of each."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.errors import FoldryError, InputError
from foldry.formats.sequence import chain_names
from foldry.formats.table import read_table
from foldry.inputs.pairs import Pair
from foldry.predict import runner
from foldry.predict.confidence import of_complex
from foldry.predict.resume import RECORD
from foldry.predict.runner import Outcome, Progress
from foldry.predict.settings import Settings
from foldry.results.screen import FOLDER, TABLE, ScreenRow, write_screen
from foldry.score.confidence import QUOTED, quoted
from foldry.store.files import read_text
from foldry.store.locks import hold

WHOLE = ("ranking_confidence", "iptm", "ptm", "mean_plddt", "has_clash")
"""Measures of all chains together."""
OF_INTERFACE = ("ipsae", "pdockq", "lis", "interface_pae", "contacts")
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
        progress: Called with the pair that is computed, and of how many.
        say: What the table says of an error.

    Returns:
        A row for each pair, in their order.

    Raises:
        InputError: The weights are not usable for complexes; nothing has been written by then.
        BusyError: Another screen is at work in the folder.
        DiskFullError: No space is left for the results.
    """
    runner.networks_for(pairs[0].query, settings)
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
    seconds = _seconds(out / TABLE)
    names = [pair.query.name for pair in pairs]
    rows = {
        name: ScreenRow(name, pair.a, pair.b, pair.query.num_residues)
        for name, pair in zip(names, pairs, strict=True)
    }
    notice, written, is_new = "", -math.inf, True
    known = sorted(pairs, key=lambda pair: not (out / FOLDER / pair.query.name / RECORD).is_file())
    try:
        for number, pair in enumerate(known):
            name, start = pair.query.name, time.monotonic()
            outcome = _fold(pair, out / FOLDER, settings, progress, (number, len(pairs)))
            computed = outcome.status != "resumed"
            took = time.monotonic() - start if computed else seconds.get(name)
            notice = outcome.notice or notice
            ended = _ended(rows[name], pair, outcome, took)
            rows[name] = replace(ended, reason=say(ended.error)) if ended.error else ended
            is_new = True
            if computed and time.monotonic() - written >= WRITE_EVERY:
                write_screen(list(rows.values()), out, notice)
                written, is_new = time.monotonic(), False
    finally:  # also of what was only found finished before an interruption
        if is_new:
            write_screen(list(rows.values()), out, notice)
    return list(rows.values())


def _fold(
    pair: Pair, folder: Path, settings: Settings, progress: Progress | None, place: tuple[int, int]
) -> Outcome:
    """One pair as a batch of its own; progress is told in pairs."""

    def told(what: str, _finished: int, _total: int) -> None:
        if progress is not None:
            progress(what, *place)

    return runner.run([pair.query], folder, settings, progress=told)[0]


def _ended(row: ScreenRow, pair: Pair, outcome: Outcome, seconds: float | None) -> ScreenRow:
    try:
        if outcome.error is None:
            found = measures(outcome.folder, pair)
            return replace(row, state="done", seconds=seconds, measures=found)
        error = outcome.error
    except FoldryError as fault:  # another process may be replacing the files
        error = fault
    return replace(row, state="failed", error=error, seconds=seconds)


def measures(folder: Path, pair: Pair) -> dict[str, float | None]:
    """The numbers of `MEASURES` of a pair's best prediction, from its folder.

    Those of an interface are of the two chains, one of each protein, with the highest ipSAE, of
    their two directions what `QUOTED` says, and pDockQ2 is of the higher chain. Where a protein
    has several chains, ipTM and the ranking are of that interface too: the whole complex's would
    praise how a bait's own chains fit.
    """
    best = json.loads(read_text(folder / "ranking_debug.json"))["order"][0]
    scores = json.loads(read_text(folder / f"scores_{best}.json"))
    found: dict[str, float | None] = {key: scores.get(key) for key in WHOLE}
    between = [each for each in scores.get("interfaces", ()) if _is_between(each["chains"], pair)]
    if not between:
        return found
    interface = max(between, key=lambda each: _quoted(each, "ipsae") or 0)
    of_chain = {each["chain"]: each for each in scores["chains"]}
    pdockq2 = [of_chain[name]["pdockq2"] for name in interface["chains"]]
    iptm = _quoted(interface, "iptm")
    if pair.num_first and pair.query.num_chains > 2 and iptm is not None:
        found |= {"iptm": iptm, "ranking_confidence": of_complex(iptm, scores["ptm"])}
    return found | {
        **{key: _quoted(interface, key) for key in OF_INTERFACE},
        "pdockq2": max((each for each in pdockq2 if each is not None), default=None),
    }


def _is_between(chains: Sequence[str], pair: Pair) -> bool:
    """Whether one chain is of the first protein, whose chains are named first, and one is not."""
    first = set(chain_names(pair.num_first))
    return not pair.num_first or len(first & set(chains)) == 1


def _quoted(interface: Mapping[str, Any], key: str) -> float | None:
    """The number that is quoted of an interface of `scores_….json`."""
    if key not in QUOTED:
        number: float | None = interface[key]
        return number
    forth, back = interface[key]
    if forth is None or back is None:
        return None
    return float(quoted(key, np.array([[np.nan, forth], [back, np.nan]]))[0, 1])


def _seconds(table: Path) -> dict[str, float]:
    """What pairs took in an earlier run, by its table; nothing where that is missing or damaged."""
    try:
        _, rows = read_table(table)
        return {
            row.cells["id"]: float(row.cells["seconds"]) for row in rows if row.cells["seconds"]
        }
    except (InputError, KeyError, ValueError):
        return {}
