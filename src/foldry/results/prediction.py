"""One predicted structure with its confidence and the record of how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from foldry.query import Query
from foldry.relax.result import Relaxation
from foldry.store.hashes import Content
from foldry.structure import Structure


@dataclass(frozen=True, eq=False)
class Provenance(Content):
    """How a prediction was made, enough to make it again.

    Attributes:
        model_name: An official model's name, such as `model_1_ptm`, or `mini`.
        weights: Where the parameters came from, such as a file's name.
        weights_sha256: Hash of the parameters.
        seed: Seed of the features' draws.
        num_recycles: Recycles that ran.
        config: The network's configuration, as plain values.
        settings: The settings that change numbers, as plain values.
        kernels: Name of the kernels that ran.
        device: Such as `cpu` or `cuda`.
        dtype: Such as `float32`.
        versions: Versions of Foldry and what it computed with.
        created: ISO 8601, UTC.
        notice: What every reader must know of these weights, or "".
    """

    model_name: str
    weights: str
    weights_sha256: str
    seed: int
    num_recycles: int
    config: dict[str, object]
    settings: dict[str, object]
    kernels: str
    device: str
    dtype: str
    versions: dict[str, str]
    created: str
    notice: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Confidence(Content):
    """How sure a network is of its prediction.

    Attributes:
        plddt: 0–100, per residue.
        pae: Predicted aligned error in Å, row i aligned on residue i; None if the network has no
            such head.
        max_pae: The largest error that the head can express, Å.
        ptm, iptm: Predicted TM-scores over all residues, and between chains; None without PAE or
            with a single chain.
        chain_ptm, chain_pair_iptm, actifptm: pTM of each chain, and for each pair of chains ipTM
            and actifpTM (`foldry.score.confidence.chain_pair_tm`); None as `iptm`.
        ranking_confidence: What ranks the predictions of a query: 0.8 ipTM + 0.2 pTM, for a single
            chain the mean pLDDT, so that it is on one scale whatever the network.
    """

    plddt: Float[np.ndarray, " N"]
    pae: Float[np.ndarray, "N N"] | None = None
    max_pae: float | None = None
    ptm: float | None = None
    iptm: float | None = None
    ranking_confidence: float
    chain_ptm: Float[np.ndarray, " C"] | None = field(default=None, repr=False)
    chain_pair_iptm: Float[np.ndarray, "C C"] | None = field(default=None, repr=False)
    actifptm: Float[np.ndarray, "C C"] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction(Confidence):
    """One predicted structure.

    Attributes:
        query: What was asked for, with the alignment that was read.
        structure: Atoms in Å; `b_factor` holds pLDDT.
        provenance: How it was made.
        single, pair: The final representations, where they were asked for.
        relaxation: How its relaxation ended; None where none was asked for.
        unrelaxed: The network's own prediction where `structure` is the relaxed one, else None.
    """

    query: Query
    structure: Structure
    provenance: Provenance
    single: Float[np.ndarray, "N c_s"] | None = field(default=None, repr=False)
    pair: Float[np.ndarray, "N N c_z"] | None = field(default=None, repr=False)
    relaxation: Relaxation | None = None
    unrelaxed: Prediction | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The network and the seed, such as `model_1_ptm_pred_0`, as AlphaFold names its files."""
        return f"{self.provenance.model_name}_pred_{self.provenance.seed}"

    @property
    def mean_plddt(self) -> float:
        """The mean pLDDT over all residues, 0–100."""
        return float(self.plddt.mean())


def ranked(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Best first, by ranking confidence; equals keep their order."""
    return sorted(predictions, key=lambda prediction: -prediction.ranking_confidence)
