"""A window of a chain, for training."""

from __future__ import annotations

from dataclasses import replace

from foldry.features.features import Features


def crop_features(features: Features, start: int, length: int) -> Features:
    """The residues start … start + length − 1; they keep their residue indices (SI 1.2.8).

    A window that reaches past the chain's end is cut off there.
    """
    window = slice(start, start + length)
    templates = features.templates
    if templates is not None:
        whole = vars(templates)
        templates = replace(
            templates, **{name: whole[name][:, window] for name in whole if name != "mask"}
        )
    return replace(
        features,
        aatype=features.aatype[window],
        target_feat=features.target_feat[window],
        residue_index=features.residue_index[window],
        asym_id=features.asym_id[window],
        entity_id=features.entity_id[window],
        sym_id=features.sym_id[window],
        seq_mask=features.seq_mask[window],
        msa=features.msa[:, window],
        deletion_matrix=features.deletion_matrix[:, window],
        templates=templates,
    )
