"""What the network is given, as frozen dataclasses of NumPy arrays.

Axes: S alignment rows, E extra rows, N residues, T templates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class FeatureConfig:
    """How much of an alignment and how many templates a model reads (SI 1.2.6–1.2.9).

    Attributes:
        num_msa: Rows of the clustered alignment (the cluster centres).
        num_extra_msa: Rows of the extra alignment; the rest of the alignment is left out.
        num_templates: Templates read at most; 0 for a model without templates.
        num_ensemble: Draws that are averaged within one recycle.
        resample_msa: Whether each recycle has its own draw.
        masked_fraction: Share of cluster positions that are replaced (SI 1.2.7).
        uniform_probability, profile_probability, same_probability: What a replaced position
            becomes: any amino acid, one of the column's profile, itself; else the mask token.
        cluster_extra_rows: How many of the rows beyond the clusters are assigned to them; None
            assigns all, as the official implementation does, however few the network reads.
        share_rows: Whether a row is shared among all clusters that it agrees with equally, and
            counts once for each residue (multimer); else the first of them has it, once.
        pad_templates: Whether there are always `num_templates` templates, missing ones without
            atoms (multimer, which reads their mean).
        profile, coevolution: Whether the network reads these of the whole alignment (`mini`; see
            `foldry.features.coevolution`).
    """

    num_msa: int
    num_extra_msa: int
    num_templates: int
    num_ensemble: int = 1
    resample_msa: bool = True
    masked_fraction: float = 0.15
    uniform_probability: float = 0.1
    profile_probability: float = 0.1
    same_probability: float = 0.1
    cluster_extra_rows: int | None = None
    share_rows: bool = False
    pad_templates: bool = False
    profile: bool = False
    coevolution: bool = False


@dataclass(frozen=True)
class MSADraw:
    """One draw of the alignment: clustered, masked, with its extra rows (SI Table 1).

    Attributes:
        msa_feat: 23 one-hot letters (20, X, gap, mask), has deletion, deletion value, 23 cluster
            profile, mean deletion of the cluster.
        msa_mask: 1 where a row covers a residue of the padded array.
        true_msa: Codes before masking: AlphaFold order, 20 X, 21 gap.
        bert_mask: 1 where the masked-MSA loss is taken.
        extra_msa: Codes of the extra rows.
        extra_has_deletion, extra_deletion_value, extra_msa_mask: Their deletions and mask.
    """

    msa_feat: Float[np.ndarray, "S N 49"]
    msa_mask: Float[np.ndarray, "S N"]
    true_msa: Int[np.ndarray, "S N"]
    bert_mask: Float[np.ndarray, "S N"]
    extra_msa: Int[np.ndarray, "E N"]
    extra_has_deletion: Float[np.ndarray, "E N"]
    extra_deletion_value: Float[np.ndarray, "E N"]
    extra_msa_mask: Float[np.ndarray, "E N"]


@dataclass(frozen=True)
class TemplateFeatures:
    """Templates laid on the query's residues; masks are 0 where a template has no atom.

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
class Features:
    """One query, ready for the network except for the draws of its alignment.

    `msa.draw_msa(features, recycle, member)` makes the alignment of one recycle; everything random
    follows from `seed`, the recycle and the ensemble member, so no draw depends on another.

    Attributes:
        aatype: Codes, AlphaFold order, 20 for X.
        target_feat: One-hot letters after a leading column that is always 0 (SI Table 1).
        residue_index: Position in the chain, from 0.
        asym_id, entity_id, sym_id: Chain, distinct sequence, copy of it; from 1.
        seq_mask: 1 for a residue, 0 for padding.
        msa: The whole alignment, de-duplicated, AlphaFold order, 20 X, 21 gap; row 0 the query.
        deletion_matrix: Letters left out before each position.
        templates: Or None for a model or query without any.
        config: How draws are made.
        seed: Where every draw starts from.
        profile: Each column's letters in the whole alignment, or None where the config has none.
        coevolution: How columns vary together, and ln Neff, or None likewise.
        covered: 0 where a row has gaps because it is of another chain; the masked-MSA loss is not
            taken there. None where there is nothing such.
    """

    aatype: Int[np.ndarray, " N"]
    target_feat: Float[np.ndarray, "N 22"]
    residue_index: Int[np.ndarray, " N"]
    asym_id: Int[np.ndarray, " N"]
    entity_id: Int[np.ndarray, " N"]
    sym_id: Int[np.ndarray, " N"]
    seq_mask: Float[np.ndarray, " N"]
    msa: Int[np.ndarray, "M N"]
    deletion_matrix: Float[np.ndarray, "M N"]
    templates: TemplateFeatures | None
    config: FeatureConfig
    seed: int
    profile: Float[np.ndarray, "N 22"] | None = None
    coevolution: Float[np.ndarray, "N N 2"] | None = None
    covered: Float[np.ndarray, "M N"] | None = None

    @property
    def num_residues(self) -> int:
        """N."""
        return len(self.aatype)
