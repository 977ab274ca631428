"""Features of the sequence, and the chain of each residue."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from foldry.features.features import SequenceFeatures
from foldry.query import Query
from foldry.residues import UNKNOWN, encode_sequence


def sequence_features(query: Query) -> SequenceFeatures:
    """Return codes and indices of a query's residues (SI Table 1; Evans 2021, section 2.1).

    Chains with equal sequences are copies of one entity, even if they are separate `Chain`s.
    """
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    distinct = list(dict.fromkeys(sequences))
    lengths = [len(sequence) for sequence in sequences]
    aatype = encode_sequence("".join(sequences))
    return SequenceFeatures(
        aatype=aatype,
        target_feat=target_feat(aatype),
        residue_index=np.concatenate([np.arange(length) for length in lengths]),
        asym_id=np.repeat(np.arange(len(sequences)) + 1, lengths),
        entity_id=np.repeat([distinct.index(each) + 1 for each in sequences], lengths),
        sym_id=np.repeat([sequences[:k].count(s) + 1 for k, s in enumerate(sequences)], lengths),
        seq_mask=np.ones(len(aatype), np.float32),
    )


def target_feat(aatype: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N 22"]:
    """Return one-hot letters after a column for chain breaks, which is always 0 (SI Table 1)."""
    one_hot: Float[np.ndarray, "N 22"] = np.eye(UNKNOWN + 2, dtype=np.float32)[aatype + 1]
    return one_hot
