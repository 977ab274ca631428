"""The inputs of the network, as frozen dataclasses of NumPy arrays.

Axes: S alignment rows, E extra rows, N residues, T templates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from foldry.features.config import FeatureConfig


@dataclass(frozen=True)
class MSADraw:
    """One draw of the alignment: clustered, masked, with its extra rows (SI Table 1).

    Attributes:
        msa_feat: 23 one-hot letters (20, X, gap, mask), has deletion, deletion value, 23 cluster
            profile, mean deletion of the cluster.
        msa_mask: 1 for rows and residues, 0 for padding.
        true_msa: Codes before masking in AlphaFold's order, 20 for X, 21 for a gap.
        bert_mask: 1 for positions of the masked-MSA loss.
        extra_msa: Codes of the extra rows.
        extra_has_deletion, extra_deletion_value, extra_msa_mask: Their deletions and mask.
    """

    msa_feat: Float[np.ndarray, "S N 49"]
    msa_mask: Float[np.ndarray, "S N"]
    true_msa: Integer[np.ndarray, "S N"]
    bert_mask: Float[np.ndarray, "S N"]
    extra_msa: Integer[np.ndarray, "E N"]
    extra_has_deletion: Float[np.ndarray, "E N"]
    extra_deletion_value: Float[np.ndarray, "E N"]
    extra_msa_mask: Float[np.ndarray, "E N"]


@dataclass(frozen=True)
class TemplateFeatures:
    """Templates in the residue order of the query; masks are 0 where a template has no atom.

    Attributes:
        aatype: Codes of the template's residues, 20 for X, 21 for a gap.
        atom_positions: Å.
        atom_mask: 1 where the atom is known.
        mask: 1 for a template, 0 for padding.
        pseudo_beta: Å; CB, or CA for glycine.
        pseudo_beta_mask: 1 where it is known.
        torsion_sin_cos: (sin, cos) of pre-omega, phi, psi, chi1–chi4.
        torsion_alt_sin_cos: The same after a 180° turn of symmetric side chains.
        torsion_mask: 1 where all four atoms are known.
    """

    aatype: Int[np.ndarray, "T N"]
    atom_positions: Float[np.ndarray, "T N 37 3"]
    atom_mask: Float[np.ndarray, "T N 37"]
    mask: Float[np.ndarray, " T"]
    pseudo_beta: Float[np.ndarray, "T N 3"]
    pseudo_beta_mask: Float[np.ndarray, "T N"]
    torsion_sin_cos: Float[np.ndarray, "T N 7 2"]
    torsion_alt_sin_cos: Float[np.ndarray, "T N 7 2"]
    torsion_mask: Float[np.ndarray, "T N 7"]


@dataclass(frozen=True)
class SequenceFeatures:
    """The residues of all chains and copies, one after the other.

    Attributes:
        aatype: Codes in AlphaFold's order, 20 for X.
        target_feat: One-hot letters after a leading column that is always 0 (SI Table 1).
        residue_index: Position in the chain, from 0.
        asym_id, entity_id, sym_id: Numbers, from 1, of the chain, of its distinct sequence and of
            the copy of this sequence.
        seq_mask: 1 for a residue, 0 for padding.
    """

    aatype: Int[np.ndarray, " N"]
    target_feat: Float[np.ndarray, "N 22"]
    residue_index: Int[np.ndarray, " N"]
    asym_id: Int[np.ndarray, " N"]
    entity_id: Int[np.ndarray, " N"]
    sym_id: Int[np.ndarray, " N"]
    seq_mask: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Features(SequenceFeatures):
    """The features of one query, from which the alignment of each recycle is drawn.

    `msa.draw_msa(features, recycle, member)` draws the alignment of one recycle from `seed`, the
    recycle and the ensemble member, so that no draw depends on another.

    Attributes:
        msa: Codes of the whole alignment without duplicates, in AlphaFold's order, 20 for X, 21 for
            a gap; row 0 is the query.
        deletion_matrix: Number of inserted letters before each position.
        templates: The templates; None for a model or query without templates.
        config: Configuration of the draws.
        seed: Seed of every draw.
        profile: Letter frequencies of each column of the whole alignment, or None.
        coevolution: Couplings of columns, and ln Neff, or None.
        covered: 0 for gaps of a row of another chain, which the masked-MSA loss ignores; None if
            there are no such rows.
    """

    msa: Integer[np.ndarray, "M N"]
    deletion_matrix: Float[np.ndarray, "M N"]
    templates: TemplateFeatures | None
    config: FeatureConfig
    seed: int
    profile: Float[np.ndarray, "N 22"] | None = None
    coevolution: Float[np.ndarray, "N N 2"] | None = None
    covered: Float[np.ndarray, "M N"] | None = None

    @property
    def num_residues(self) -> int:
        """The number of residues, N."""
        return len(self.aatype)
