"""Alignment of two versions of a chain: as a search found it, and as its structure has it."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

import numpy as np
from jaxtyping import Int

from foldry.align.pairwise import align_local
from foldry.errors import InputError
from foldry.formats.fasta import parse_fasta
from foldry.formats.lines import read_bounded_text
from foldry.processes.program import run_program
from foldry.residues import encode_sequence
from foldry.store.files import scratch_folder, write_text

MIN_LENGTH: Final = 6
"""Kalign aligns no shorter sequences."""
MIN_IDENTITY: Final = 0.9
"""Least share of the shorter sequence that is aligned to equal residues."""
_MAX_CELLS: Final = 10**8
"""Maximum product of the two lengths, which bounds the time and memory of an alignment."""
_KALIGN: Final = "kalign"
_PACKAGE: Final = "kalign-python"
_OWN: Final = "Foldry"
_AS_X: Final = str.maketrans("JO*", "XXX")
"""Kalign prints a warning for each letter that it does not know."""


def realigner() -> str:
    """Return what `realigned` depends on: the program that aligns, and its version if known."""
    if find_spec(_KALIGN) is None:
        return _OWN if shutil.which(_KALIGN) is None else _KALIGN
    try:
        return f"{_KALIGN} {version(_PACKAGE)}"
    except PackageNotFoundError:
        return _KALIGN


def realigned(old: str, new: str) -> tuple[Int[np.ndarray, "P 2"], str]:
    """Return the pairs (residue of `old`, residue of `new`), from 0, and which program aligned.

    It is Kalign, as in AlphaFold, if its Python package or its program is installed, and otherwise
    a local alignment.

    Raises:
        InputError: The sequences are too short, too long, or differ in more than 10 %.
        OutsideError: Kalign failed.

    Example:
        >>> realigned("MKTAYIAKQRQ", "GGMKTAYIAKQRQ")[0][0].tolist()
        [0, 2]
    """
    advice = "remove the template"
    shorter = min(len(old), len(new))
    if shorter < MIN_LENGTH or len(old) * len(new) > _MAX_CELLS:
        what = f"has {len(new)} residues, which cannot be realigned with the {len(old)} of the hit"
        raise InputError(what, advice, where="The chain")
    rows = _by_kalign(old.translate(_AS_X), new.translate(_AS_X))
    if rows is None:
        pairs = align_local(encode_sequence(old), encode_sequence(new)).pairs
    else:
        there = np.array([list(row) for row in rows]) != "-"
        pairs = (np.cumsum(there, axis=1) - 1)[:, there.all(axis=0)].T
    equal = sum(old[here] == new[there] for here, there in pairs.tolist())
    if equal / shorter < MIN_IDENTITY:
        share = f"{100 * equal / shorter:.0f} % of it is equal"
        what = f"is another sequence than that of the hit ({share})"
        raise InputError(what, advice, where="The chain")
    return pairs, _OWN if rows is None else _KALIGN


def _by_kalign(old: str, new: str) -> list[str] | None:
    """Return the two sequences with gaps; None if Kalign is not installed.

    Raises:
        OutsideError: Kalign failed.
    """
    try:
        from kalign import align  # noqa: PLC0415  (optional)
    except ImportError:
        program = shutil.which(_KALIGN)
        return None if program is None else _by_program(program, old, new)
    rows: list[str] = align([old, new], seq_type="protein", n_threads=1)
    return rows


def _by_program(program: str, old: str, new: str) -> list[str]:
    with scratch_folder() as folder:
        given = write_text(folder / "given.fasta", f">old\n{old}\n>new\n{new}\n")
        made = folder / "made.fasta"
        run_program([program, "-i", str(given), "-o", str(made), "-format", "fasta"])
        return [record.sequence for record in parse_fasta(read_bounded_text(made), str(made))]
