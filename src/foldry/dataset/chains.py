"""A structure file and the alignments of its chains → chains to train on, or reasons against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from foldry.dataset.config import PrepareConfig
from foldry.dataset.diverse import diverse_rows
from foldry.dataset.packs import KnownChain
from foldry.errors import InputError
from foldry.features.msa import merge_alignments
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import Deposition, read_deposition
from foldry.formats.stockholm import parse_stockholm
from foldry.inputs.folders import STOCKHOLM_SUFFIXES
from foldry.residues import CA, UNKNOWN, C, N
from foldry.results.folder import RANKING
from foldry.store.files import plain_name, read_text, stem
from foldry.structure import Structure

MAX_BOND: Final = 2.5
"""Å: maximum distance from C to the next N of two joined residues."""
TRANS: Final = (3.5, 4.1)
CIS: Final = (2.7, 3.2)
"""Å between the Cα atoms of joined residues, for trans and cis peptide bonds."""
MAX_FROM_CA: Final = 20.0
"""Å: maximum distance of an atom from the Cα of its residue."""


@dataclass(frozen=True)
class Candidate:
    """A chain of a file that meets all criteria.

    Attributes:
        chain: The chain with its atoms.
        alignment: Codes of the alignment's rows, the chain first, and their deletions; a single
            row without an alignment.
    """

    chain: KnownChain
    alignment: tuple[Integer[np.ndarray, "M N"], Float[np.ndarray, "M N"]]


@dataclass(frozen=True)
class Dropped:
    """A chain of a file that does not meet a criterion.

    Attributes:
        reason: The criterion, or what is wrong with the alignment.
        length: Residues with a Cα.
        resolution: Resolution in Å; NaN if unknown.
    """

    reason: str
    length: int
    resolution: float


def read_candidates(
    path: Path, alignments: Mapping[str, Path], config: PrepareConfig
) -> dict[str, Candidate | Dropped]:
    """Return all protein chains of a file by name.

    Args:
        path: mmCIF, BinaryCIF or PDB file; may be gzipped.
        alignments: a3m and Stockholm files by the name of a chain or, for files with one chain, of
            the structure. The first row is the chain's whole sequence or the observed residues.
        config: Criteria that chains must meet.

    Raises:
        InputError: The file cannot be read, or has no protein.
    """
    deposition = read_deposition(path)
    structure = structure_name(path)
    candidates: dict[str, Candidate | Dropped] = {}
    for chain, whole in deposition.chains.items():
        name = f"{structure}_{chain}"
        alignment = alignments.get(name)
        if alignment is None and len(deposition.chains) == 1:
            alignment = alignments.get(structure)
        try:
            found: Candidate | Dropped | str = _candidate(deposition, chain, alignment, config)
        except InputError as error:
            found = str(error)
        if isinstance(found, str):
            length = int(whole.atom_mask[:, CA].sum())
            found = Dropped(found, length, deposition.resolution or np.nan)
        candidates[name] = found
    return candidates


def is_result(path: Path) -> bool:
    """Return whether a file is a prediction in a folder of results."""
    return (path.parent / RANKING).is_file()


def structure_name(path: Path) -> str:
    """Return the name of a file without suffix, or the name of the folder of a query's results."""
    return path.resolve().parent.name if is_result(path) else stem(path)


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file has one of these suffixes, in any case, packed or not."""
    return plain_name(path).lower().endswith(suffixes)


def _candidate(
    deposition: Deposition, chain: str, path: Path | None, config: PrepareConfig
) -> Candidate | str:
    whole = deposition.chains[chain]
    places = np.flatnonzero(whole.atom_mask[:, CA])
    seen = whole.select(places)
    for fault in _faults(seen, places, deposition.resolution, config):
        return fault
    predicted = config.predictions or deposition.predicted
    plddt = np.clip(seen.b_factor[:, CA], 0, 100) if predicted else np.full(len(seen), 100)
    known = KnownChain(
        aatype=seen.aatype,
        residue_index=_numbers(seen, places, predicted),
        positions=seen.atom_positions.astype(np.float32),
        mask=seen.atom_mask.astype(np.float32),
        resolution=deposition.resolution or (0.0 if "nmr" in deposition.method else np.nan),
        plddt=plddt.astype(np.float32),
    )
    if path is None:
        msa = known.aatype[None]
        return Candidate(known, (msa, np.zeros(msa.shape, np.float32)))
    parse = parse_stockholm if has_suffix(path, STOCKHOLM_SUFFIXES) else parse_a3m
    rows = merge_alignments([parse(read_text(path), str(path))])
    msa, deletions = rows.codes, rows.deletions
    if msa.shape[1] == len(whole) and _same(msa[0], whole.aatype):
        msa, deletions = msa[:, places], deletions[:, places]
    elif not (msa.shape[1] == len(seen) and _same(msa[0], seen.aatype)):
        return f"{path.name} is an alignment to another sequence"
    msa = np.concatenate([known.aatype[None], msa[1:]])
    kept = diverse_rows(msa, config.max_rows)
    return Candidate(known, (msa[kept], deletions[kept]))


def _faults(
    seen: Structure, places: np.ndarray, resolution: float, config: PrepareConfig
) -> Iterator[str]:
    """Yield the reasons to drop a chain."""
    size = len(seen)
    if not config.min_length <= size <= config.max_length:
        yield f"{size} residues, not {config.min_length} to {config.max_length}"
    if resolution > config.max_resolution:
        yield f"a resolution of {resolution:.1f} Å, above {config.max_resolution}"
    unknown = (seen.aatype == UNKNOWN).mean()
    if unknown > config.max_unknown:
        yield f"{unknown:.0%} of the residues are X, above {config.max_unknown:.0%}"
    backbone = seen.atom_mask[:, [N, CA, C]].all(axis=1).mean()
    if backbone < config.min_backbone:
        yield f"{backbone:.0%} of the residues have N, CA and C, below {config.min_backbone:.0%}"
    ca = seen.atom_positions[:, CA]
    step = np.linalg.norm(np.diff(ca, axis=0), axis=1)
    neighbours = _joined(seen) | (np.diff(places) == 1) & (np.diff(seen.residue_number) == 1)
    good = np.logical_or.reduce([(low <= step) & (step <= high) for low, high in (TRANS, CIS)])
    share = good[neighbours].mean() if neighbours.any() else 0.0
    if share < config.min_steps:
        yield (
            f"{share:.0%} of neighbours have CA as far apart as in a peptide, "
            f"below {config.min_steps:.0%}"
        )
    from_ca = np.linalg.norm(seen.atom_positions - ca[:, None], axis=-1)[seen.atom_mask]
    if from_ca.max() > MAX_FROM_CA:
        yield f"an atom {from_ca.max():.0f} Å from its CA"


def _joined(seen: Structure) -> Bool[np.ndarray, " M"]:
    """Return whether a peptide bond joins neighbours; without C or N, by the distance of Cα."""
    xyz, known = seen.atom_positions, seen.atom_mask
    bond = np.linalg.norm(xyz[1:, N] - xyz[:-1, C], axis=1)
    step = np.linalg.norm(xyz[1:, CA] - xyz[:-1, CA], axis=1)
    joined: np.ndarray = np.where(known[1:, N] & known[:-1, C], bond < MAX_BOND, step < TRANS[1])
    return joined


def _numbers(seen: Structure, places: np.ndarray, predicted: bool) -> Int[np.ndarray, " N"]:
    """Return residue indices, which rise by 1 along a peptide bond.

    Without a bond they rise by the step in the sequence, otherwise by the step of the author's
    numbers, but at least by 2. In a prediction a broken bond is bad geometry, not a missing
    residue, so the minimum is 1.
    """
    by_sequence, by_author = np.diff(places), np.diff(seen.residue_number)
    gap = np.where(by_sequence > 1, by_sequence, np.maximum(by_author, 1 if predicted else 2))
    steps = np.where(_joined(seen), 1, gap)
    return np.cumsum([int(seen.residue_number[0]), *steps])


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two sequences are equal; X matches any residue."""
    return bool(((first == second) | (first == UNKNOWN) | (second == UNKNOWN)).all())
