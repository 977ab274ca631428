"""Which residue of a model is which residue of a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from foldry.errors import InputError
from foldry.features.pairwise import align_local
from foldry.residues import RESNAMES, UNKNOWN
from foldry.structure import Structure


@dataclass(frozen=True)
class Match:
    """Residues of two structures that belong together, and all that do not.

    Residues are named chain.number.insertion code, such as `A.42.` or `A.42.B`.

    Attributes:
        pairs: (model residue, reference residue), counted from 0.
        chains: (model chain, reference chain).
        unmatched_model: Residues of the model without a partner.
        unmatched_reference: Residues of the reference without a partner.
        mismatched: Partners of different amino acids, such as `A.ALA42-A.GLY42`, reference first.
    """

    pairs: Int[np.ndarray, "M 2"]
    chains: tuple[tuple[str, str], ...]
    unmatched_model: tuple[str, ...]
    unmatched_reference: tuple[str, ...]
    mismatched: tuple[str, ...]


def match_residues(model: Structure, reference: Structure, align: bool = False) -> Match:
    """Matches chains by name (two single chains in any case), and in them residues.

    Args:
        align: By local sequence alignment; otherwise by residue number and insertion code.

    Raises:
        InputError: No chain or no residue of the two belongs together.
    """
    chains = _match_chains(model, reference)
    find = _by_sequence if align else _by_number
    pairs = np.concatenate([find(model, reference, *names) for names in chains])
    if not len(pairs):
        how = "sequence alignment" if align else "residue number"
        advice = "compare another reference" if align else "match them by sequence alignment"
        raise InputError(
            f"No residue of {model.name!r} has a partner in {reference.name!r} by {how}: {advice}."
        )
    types = model.aatype[pairs[:, 0]], reference.aatype[pairs[:, 1]]
    differ = (types[0] != types[1]) & (types[0] != UNKNOWN) & (types[1] != UNKNOWN)
    return Match(
        pairs=pairs,
        chains=chains,
        unmatched_model=_others(model, pairs[:, 0]),
        unmatched_reference=_others(reference, pairs[:, 1]),
        mismatched=tuple(
            f"{_name_with_type(reference, there)}-{_name_with_type(model, here)}"
            for here, there in pairs[differ]
        ),
    )


def residue_label(structure: Structure, index: int) -> str:
    """What a residue is called: chain.number.insertion code."""
    chain, number = structure.chain_id[index], structure.residue_number[index]
    return f"{chain}.{number}.{structure.insertion_code[index]}"


def _match_chains(model: Structure, reference: Structure) -> tuple[tuple[str, str], ...]:
    if len(model.chains) == len(reference.chains) == 1:
        return ((model.chains[0], reference.chains[0]),)
    common = tuple((name, name) for name in reference.chains if name in model.chains)
    if not common:
        raise InputError(
            f"The chains of {model.name!r} ({', '.join(model.chains)}) and of {reference.name!r} "
            f"({', '.join(reference.chains)}) have no name in common: rename them."
        )
    return common


def _by_number(
    model: Structure, reference: Structure, model_chain: str, reference_chain: str
) -> Int[np.ndarray, "M 2"]:
    partners = dict(_numbered(reference, reference_chain))
    pairs = [
        (here, partners.pop(key)) for key, here in _numbered(model, model_chain) if key in partners
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _numbered(structure: Structure, chain: str) -> Iterator[tuple[tuple[int, str], int]]:
    for index in np.flatnonzero(structure.chain_id == chain):
        key = int(structure.residue_number[index]), str(structure.insertion_code[index])
        yield key, int(index)


def _by_sequence(
    model: Structure, reference: Structure, model_chain: str, reference_chain: str
) -> Int[np.ndarray, "M 2"]:
    here = np.flatnonzero(model.chain_id == model_chain)
    there = np.flatnonzero(reference.chain_id == reference_chain)
    aligned = align_local(model.aatype[here], reference.aatype[there]).pairs
    return np.stack([here[aligned[:, 0]], there[aligned[:, 1]]], axis=1)


def _others(structure: Structure, matched: Int[np.ndarray, " M"]) -> tuple[str, ...]:
    rest = np.setdiff1d(np.arange(len(structure)), matched)
    return tuple(residue_label(structure, index) for index in rest)


def _name_with_type(structure: Structure, index: int) -> str:
    residue = RESNAMES[structure.aatype[index]]
    number = f"{structure.residue_number[index]}{structure.insertion_code[index]}"
    return f"{structure.chain_id[index]}.{residue}{number}"
