"""Matching of a model's residues to the residues of a reference."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from foldry.errors import InputError
from foldry.residues import RESNAMES
from foldry.score.chain_mapping import identical, map_chains
from foldry.score.dockq import InterfaceScorer, Names
from foldry.store.hashes import Content
from foldry.structure import Structure


@dataclass(frozen=True, eq=False)
class Match(Content):
    """Matched residues of two structures, and all residues without a partner.

    Residues are named chain.number.insertion code, e.g. `A.42.` or `A.42.B`.

    Attributes:
        pairs: Pairs (model residue, reference residue), counted from 0.
        chains: Pairs (model chain, reference chain), in the reference's order.
        unmatched_model_chains, unmatched_reference_chains: Chains without a partner.
        unmatched_model, unmatched_reference: Residues without a partner.
        mismatched: Partners of different amino acids, e.g. `A.ALA42-A.GLY42`, reference first.
        scorer: Scorer of interfaces, for `dockq`.
    """

    pairs: Int[np.ndarray, "M 2"]
    chains: tuple[Names, ...]
    unmatched_model_chains: tuple[str, ...]
    unmatched_reference_chains: tuple[str, ...]
    unmatched_model: tuple[str, ...]
    unmatched_reference: tuple[str, ...]
    mismatched: tuple[str, ...]
    scorer: InterfaceScorer = field(repr=False, compare=False)


def match_residues(model: Structure, reference: Structure, align: bool = False) -> Match:
    """Return the matched residues of the best mapping of chains (`map_chains`).

    Args:
        align: Match residues by local sequence alignment instead of by number and insertion code.

    Raises:
        InputError: No residue of the model has a partner.

    Example:
        >>> from foldry import read_structure
        >>> crystal = read_structure("examples/kunitz/1adz.cif")
        >>> match = match_residues(crystal.select(np.arange(60)), crystal)
        >>> match.chains, match.unmatched_reference
        ((('A', 'A'),), ('A.69.', 'A.70.', 'A.71.'))
    """
    chains, scorer = map_chains(model, reference, align)
    if not chains:
        how = "sequence alignment" if align else "residue number"
        raise InputError(
            f"No residue of {model.name!r} has a partner in {reference.name!r} by {how}",
            "choose another reference" if align else "set `align` to match by sequence",
        )
    pairs = np.concatenate([scorer.partners[names] for names in chains])
    here, there = zip(*chains, strict=True)
    return Match(
        pairs=pairs,
        chains=chains,
        unmatched_model_chains=tuple(name for name in model.chains if name not in here),
        unmatched_reference_chains=tuple(name for name in reference.chains if name not in there),
        unmatched_model=_others(model, pairs[:, 0]),
        unmatched_reference=_others(reference, pairs[:, 1]),
        mismatched=tuple(
            f"{_name_with_type(reference, two)}-{_name_with_type(model, one)}"
            for one, two in pairs[~identical(model, reference, pairs)].tolist()
        ),
        scorer=scorer,
    )


def residue_label(structure: Structure, index: int) -> str:
    """Return the name of a residue: chain.number.insertion code."""
    chain, number = structure.chain_id[index], structure.residue_number[index]
    return f"{chain}.{number}.{structure.insertion_code[index]}"


def _others(structure: Structure, matched: Int[np.ndarray, " M"]) -> tuple[str, ...]:
    rest = sorted(set(range(len(structure))).difference(matched.tolist()))
    return tuple(residue_label(structure, index) for index in rest)


def _name_with_type(structure: Structure, index: int) -> str:
    residue = RESNAMES[structure.aatype[index]]
    number = f"{structure.residue_number[index]}{structure.insertion_code[index]}"
    return f"{structure.chain_id[index]}.{residue}{number}"
