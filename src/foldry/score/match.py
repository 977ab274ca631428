"""Which residue of a model is which residue of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from foldry.errors import InputError
from foldry.residues import RESNAMES, UNKNOWN
from foldry.score.chain_mapping import map_chains
from foldry.structure import Structure


@dataclass(frozen=True)
class Match:
    """Residues of two structures that belong together, and all that do not.

    Residues are named chain.number.insertion code, such as `A.42.` or `A.42.B`.

    Attributes:
        pairs: (model residue, reference residue), counted from 0.
        chains: (model chain, reference chain).
        unmatched_model_chains: Chains of the model without a partner.
        unmatched_reference_chains: Chains of the reference without a partner.
        unmatched_model: Residues of the model without a partner.
        unmatched_reference: Residues of the reference without a partner.
        mismatched: Partners of different amino acids, such as `A.ALA42-A.GLY42`, reference first.
    """

    pairs: Int[np.ndarray, "M 2"]
    chains: tuple[tuple[str, str], ...]
    unmatched_model_chains: tuple[str, ...]
    unmatched_reference_chains: tuple[str, ...]
    unmatched_model: tuple[str, ...]
    unmatched_reference: tuple[str, ...]
    mismatched: tuple[str, ...]


def match_residues(model: Structure, reference: Structure, align: bool = False) -> Match:
    """Matches chains by the best mapping (`map_chains`), and in them residues.

    Args:
        align: By local sequence alignment; otherwise by residue number and insertion code.

    Raises:
        InputError: No residue of the two belongs together.
    """
    mapping = map_chains(model, reference, align)
    pairs = mapping.residues
    if not len(pairs):
        how = "sequence alignment" if align else "residue number"
        advice = "compare another reference" if align else "set `align` to match by sequence"
        raise InputError(
            f"No residue of {model.name!r} has a partner in {reference.name!r} by {how}",
            f"{advice}",
        )
    types = model.aatype[pairs[:, 0]], reference.aatype[pairs[:, 1]]
    differ = (types[0] != types[1]) & (types[0] != UNKNOWN) & (types[1] != UNKNOWN)
    return Match(
        pairs=pairs,
        chains=mapping.chains,
        unmatched_model_chains=mapping.unmatched_model,
        unmatched_reference_chains=mapping.unmatched_reference,
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


def _others(structure: Structure, matched: Int[np.ndarray, " M"]) -> tuple[str, ...]:
    rest = np.setdiff1d(np.arange(len(structure)), matched)
    return tuple(residue_label(structure, index) for index in rest)


def _name_with_type(structure: Structure, index: int) -> str:
    residue = RESNAMES[structure.aatype[index]]
    number = f"{structure.residue_number[index]}{structure.insertion_code[index]}"
    return f"{structure.chain_id[index]}.{residue}{number}"
