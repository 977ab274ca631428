"""What the network reads of the sequence itself, and which chain a residue is in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from foldry.query import Query
from foldry.residues import UNKNOWN, encode_sequence


@dataclass(frozen=True)
class SequenceFeatures:
    """Residues of all chains and copies in one row, as in `Features`."""

    aatype: Int[np.ndarray, " N"]
    target_feat: Float[np.ndarray, "N 22"]
    residue_index: Int[np.ndarray, " N"]
    asym_id: Int[np.ndarray, " N"]
    entity_id: Int[np.ndarray, " N"]
    sym_id: Int[np.ndarray, " N"]
    seq_mask: Float[np.ndarray, " N"]


def sequence_features(query: Query) -> SequenceFeatures:
    """Codes and indices of a query's residues (SI Table 1; Evans 2021, section 2.1).

    Chains of equal sequence are copies of one entity, whether one record names them or several.
    """
    entities: dict[str, int] = {}
    copies: dict[str, int] = {}
    aatype, residue_index, asym, entity, sym = [], [], [], [], []
    for number, chain in enumerate((c for c in query.chains for _ in c.ids), start=1):
        length = len(chain.sequence)
        copies[chain.sequence] = copies.get(chain.sequence, 0) + 1
        aatype.append(encode_sequence(chain.sequence))
        residue_index.append(np.arange(length))
        asym.append(np.full(length, number))
        entity.append(np.full(length, entities.setdefault(chain.sequence, len(entities) + 1)))
        sym.append(np.full(length, copies[chain.sequence]))
    codes = np.concatenate(aatype)
    return SequenceFeatures(
        aatype=codes,
        target_feat=target_feat(codes),
        residue_index=np.concatenate(residue_index),
        asym_id=np.concatenate(asym),
        entity_id=np.concatenate(entity),
        sym_id=np.concatenate(sym),
        seq_mask=np.ones(len(codes), np.float32),
    )


def target_feat(aatype: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N 22"]:
    """One-hot letters after a column for chain breaks that is always 0 (SI Table 1)."""
    one_hot: Float[np.ndarray, "N 22"] = np.eye(UNKNOWN + 2, dtype=np.float32)[aatype + 1]
    return one_hot
