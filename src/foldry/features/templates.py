"""Template features in the query's residue order (Jumper 2021, SI 1.2.3 and 1.2.9).

Axes: T templates, N query residues, P aligned pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from foldry.align.fit import fitted_structure
from foldry.align.pairwise import align_scored, e_value
from foldry.align.profile import profile_scores
from foldry.errors import InputError, quoted
from foldry.features.features import TemplateFeatures
from foldry.features.known_atoms import pseudo_beta, torsion_angles
from foldry.features.msa import encode_letters
from foldry.query import Chain, Hit, Query
from foldry.residues import GAP, encode_sequence
from foldry.structure import Structure

MIN_PAIRS: Final = 10


class UnlikeError(InputError):
    """A template whose sequence cannot be aligned with the query's."""


def template_features(
    query_sequence: str, hits: Sequence[Hit], num_templates: int
) -> TemplateFeatures:
    """Return the features of the first `num_templates` hits, mapped to the query by their pairs.

    Raises:
        InputError: The pairs of a hit are outside the query or template, it has too few atoms, or
            consecutive residues are too far apart.
    """
    hits = hits[:num_templates]
    shape = (len(hits), len(query_sequence))
    aatype = np.full(shape, GAP, np.int64)
    positions = np.zeros((*shape, 37, 3), np.float32)
    mask = np.zeros((*shape, 37), np.float32)
    for row, hit in enumerate(hits):
        structure = fitted_structure(len(query_sequence), hit)
        here, there = hit.pairs.T
        aatype[row, here] = structure.aatype[there]
        positions[row, here] = structure.atom_positions[there]
        mask[row, here] = structure.atom_mask[there]
    return template_features_of_atoms(aatype, positions, mask)


def template_features_of_complex(chains: Sequence[Chain], num_templates: int) -> TemplateFeatures:
    """Return features whose row t has the t-th template of every chain (Evans 2021).

    There are always `num_templates` rows, over which the network averages. If a chain has fewer
    templates, its codes are 0 and no atom is known, as in the official implementation.

    Args:
        chains: All chains, copies included.
        num_templates: Number of templates, T.

    Raises:
        InputError: As for `template_features`.
    """
    parts = []
    for chain in chains:
        part = vars(template_features(chain.sequence, chain.templates, num_templates))
        missing = num_templates - len(part["mask"])
        parts.append(
            {
                name: np.pad(array, ((0, missing), *((0, 0),) * (array.ndim - 1)))
                for name, array in part.items()
            }
        )
    mask = np.max([part.pop("mask") for part in parts], axis=0)
    joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    return TemplateFeatures(mask=mask, **joined)


def template_features_of_atoms(
    aatype: Int[np.ndarray, "T N"],
    positions: Float[np.ndarray, "T N 37 3"],
    mask: Float[np.ndarray, "T N 37"],
) -> TemplateFeatures:
    """Return template features of atoms (Å) that are already in the query's residue order.

    Args:
        aatype: Codes, 20 for X, 21 for a missing residue.
        positions: Å; zero where `mask` is 0.
        mask: 1 where an atom is known.
    """
    beta, beta_mask = pseudo_beta(aatype, positions, mask)
    torsions = torsion_angles(aatype, positions, mask)
    return TemplateFeatures(
        aatype=aatype,
        atom_positions=positions,
        atom_mask=mask,
        mask=np.ones(len(aatype), np.float32),
        pseudo_beta=beta,
        pseudo_beta_mask=beta_mask,
        torsion_sin_cos=torsions.sin_cos,
        torsion_alt_sin_cos=torsions.alt_sin_cos,
        torsion_mask=torsions.mask,
    )


def profiles(query: Query) -> dict[str, Float[np.ndarray, "N 21"]]:
    """Return the alignment scores (`profile_scores`) of each distinct sequence of a query.

    Chains with equal sequences share their alignments. Without an alignment, the scores are
    BLOSUM62's.
    """
    rows: dict[str, list[np.ndarray]] = {}
    for chain in query.chains:
        own = encode_sequence(chain.sequence)[None].astype(np.int8)
        aligned = [encode_letters(each.letters) for each in chain.alignments]
        rows.setdefault(chain.sequence, [own]).extend(aligned)
    return {sequence: profile_scores(np.concatenate(each)) for sequence, each in rows.items()}


def align_template(profile: Float[np.ndarray, "N 21"], structure: Structure) -> Hit:
    """Return the hit of the template's chain that aligns best with a chain of the query.

    Its E-value is that of the template's chain alone, not of a search.

    Args:
        profile: Score of each amino acid and X at each residue of the query's chain, half-bits.
        structure: The template.

    Raises:
        UnlikeError: Fewer than 10 residues can be aligned.
        InputError: Consecutive residues of the chain are too far apart.
    """
    chains = [structure.chain(name) for name in structure.chains]
    aligned = [align_scored(profile, chain.aatype) for chain in chains]
    best = max(range(len(chains)), key=lambda index: aligned[index].score, default=None)
    if best is None or len(aligned[best].pairs) < MIN_PAIRS:
        raise UnlikeError(
            f"has fewer than {MIN_PAIRS} residues that can be aligned with the query",
            "give a homologous chain, or remove the template",
            where=f"The template {quoted(structure.name)}",
        )
    name = f"{structure.name}_{structure.chains[best]}"
    by_chance = e_value(aligned[best].score, len(profile), len(chains[best]))
    hit = Hit(name, aligned[best].pairs, replace(chains[best], name=name), by_chance)
    fitted_structure(len(profile), hit)
    return hit
