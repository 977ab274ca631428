"""A predicted structure with its confidence and its provenance."""

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
    """How a prediction was made, in enough detail to repeat it.

    Attributes:
        model_name: Name of the network, such as `model_1_ptm` or `mini`.
        weights: Name of the file of parameters.
        weights_sha256: SHA-256 of the parameters.
        seed: Random seed.
        num_recycles: Number of recycles that ran.
        config: Configuration of the network, as plain values.
        settings: Settings that change numbers, as plain values.
        kernels: The implementation of each operation that ran (`foldry.kernels`).
        device: Device, such as `cpu` or `cuda`.
        dtype: Data type, such as `float32`.
        versions: Versions of Foldry and of the packages that computed.
        created: Time in ISO 8601, UTC.
        notice: A warning about these weights for all readers, or "".
        licence: Licence of the parameters; "" for CC BY 4.0, that of AlphaFold's and mini's.
        process: Settings of the process (`foldry.processes.tuning`), for speed.
        templates_read: Names of the templates that the network read, by chain; a query may have
            more. None in results of earlier versions.
    """

    model_name: str
    weights: str
    weights_sha256: str
    seed: int
    num_recycles: int
    config: dict[str, object]
    settings: dict[str, object]
    kernels: dict[str, str]
    device: str
    dtype: str
    versions: dict[str, str]
    created: str
    notice: str = ""
    licence: str = ""
    process: dict[str, str | int] = field(default_factory=dict)
    templates_read: dict[str, list[str]] | None = None

    @property
    def templates(self) -> tuple[str, ...]:
        """Names of the templates that the network read for any chain, each once."""
        read = (self.templates_read or {}).values()
        return tuple(dict.fromkeys(name for names in read for name in names))

    def __repr__(self) -> str:
        return f"Provenance({self.model_name!r}, seed {self.seed}, {self.weights!r})"


@dataclass(frozen=True, eq=False, kw_only=True)
class Confidence(Content):
    """The confidence that a network assigns to its prediction.

    Attributes:
        plddt: pLDDT per residue, 0–100.
        pae: Predicted aligned error in Å, row i aligned on residue i; None if the network has no
            PAE head.
        max_pae: Largest error that the PAE head can express, Å.
        ptm, iptm: Predicted TM-scores over all residues and between chains, 0–1; None without PAE,
            and `iptm` also for a single chain.
        chain_ptm, chain_pair_iptm, actifptm: pTM of each chain, ipTM and actifpTM of each pair of
            chains (`foldry.score.confidence.chain_pair_tm`); None if `iptm` is None.
        ranking_confidence: Score that ranks the predictions of a query: 0.8 ipTM + 0.2 pTM, or for
            a single chain the mean pLDDT, which all networks have.
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
        query: The query, with the alignment that was read.
        structure: Predicted atoms, Å; `b_factor` holds pLDDT.
        provenance: How the prediction was made.
        single, pair: The final representations; None unless requested.
        relaxation: The result of relaxation; None if it was not requested.
        unrelaxed: The network's prediction if `structure` is relaxed, otherwise None.
    """

    query: Query
    structure: Structure
    provenance: Provenance
    single: Float[np.ndarray, "N c_s"] | None = field(default=None, repr=False)
    pair: Float[np.ndarray, "N N c_z"] | None = field(default=None, repr=False)
    relaxation: Relaxation | None = None
    unrelaxed: Prediction | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        about = f"{self.query.name!r}, {self.name}, mean pLDDT {self.mean_plddt:.1f}"
        return f"Prediction({about})"

    @property
    def name(self) -> str:
        """The network and the seed, such as `model_1_ptm_pred_0`, as AlphaFold names its files."""
        return f"{self.provenance.model_name}_pred_{self.provenance.seed}"

    @property
    def mean_plddt(self) -> float:
        """The mean pLDDT over all residues, 0–100."""
        return float(self.plddt.mean())


def ranked(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return the predictions by falling ranking confidence; ties keep their order."""
    return sorted(predictions, key=lambda prediction: -prediction.ranking_confidence)
