"""How sure a network is of its prediction, and which prediction is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from foldry.model.config import ModelConfig
from foldry.model.heads import HeadLogits, expectation, pae_bin_centers, plddt
from foldry.predict.prediction import Prediction
from foldry.score.confidence import predicted_tm, predicted_tm_d0
from foldry.score.tm import tm_term


@dataclass(frozen=True)
class Confidence:
    """What the confidence heads say of one prediction; see `Prediction`.

    Attributes:
        plddt: 0–100.
        pae, max_pae: Å; None without the head.
        ptm: 0–1; None without the head.
        iptm: 0–1; None without the head or with a single chain.
        ranking_confidence: 0.8 ipTM + 0.2 pTM of a network for complexes (Evans 2021, section
            2.6), where a single chain has ipTM 0; else the mean pLDDT.
    """

    plddt: Float[np.ndarray, " N"]
    pae: Float[np.ndarray, "N N"] | None
    max_pae: float | None
    ptm: float | None
    iptm: float | None
    ranking_confidence: float


def confidence(
    logits: HeadLogits, asym_id: Int[np.ndarray, " N"], config: ModelConfig
) -> Confidence:
    """Confidence of the first of a batch; `asym_id` numbers the chain of each residue."""
    per_residue = plddt(logits.plddt[0]).double().cpu().numpy()
    if logits.pae is None:
        return Confidence(per_residue, None, None, None, None, float(per_residue.mean()))
    errors = logits.pae[0]
    centers = pae_bin_centers(config.heads.num_pae_bins, config.heads.max_pae_break)
    of_bin = tm_term(centers.numpy(), predicted_tm_d0(len(errors)))
    terms = expectation(errors, torch.from_numpy(of_bin)).double().cpu().numpy()
    ptm = predicted_tm(terms)
    iptm = predicted_tm(terms, asym_id) if len(np.unique(asym_id)) > 1 else None
    ranking = 0.8 * (iptm or 0) + 0.2 * ptm if config.of_complexes else per_residue.mean()
    return Confidence(
        plddt=per_residue,
        pae=expectation(errors, centers).cpu().numpy(),
        max_pae=float(centers[-1]),
        ptm=ptm,
        iptm=iptm,
        ranking_confidence=float(ranking),
    )


def ranked(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Best first, by ranking confidence; equals keep their order."""
    return sorted(predictions, key=lambda prediction: -prediction.ranking_confidence)
