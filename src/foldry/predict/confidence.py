"""The confidence that a network assigns to its prediction."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foldry.model.config import ModelConfig
from foldry.model.heads import HeadLogits, expectation, pae_bin_centers, plddt
from foldry.results.prediction import Confidence
from foldry.score.confidence import (
    CONTACT,
    CONTACT_PROBABILITY,
    chain_pair_tm,
    predicted_tm,
    predicted_tm_d0,
)
from foldry.score.tm import tm_term


def of_complex(iptm: float, ptm: float) -> float:
    """Return 0.8 ipTM + 0.2 pTM (Evans 2021, section 2.6)."""
    return 0.8 * iptm + 0.2 * ptm


def of_member(logits: HeadLogits, member: int, length: int) -> HeadLogits:
    """Return the logits of one member of a batch, a batch of one, without padding residues."""
    rows, residues = slice(member, member + 1), slice(length)
    pae = logits.pae
    return HeadLogits(
        distogram=logits.distogram[rows, residues, residues],
        masked_msa=logits.masked_msa[rows, :, residues],
        plddt=logits.plddt[rows, residues],
        resolved=logits.resolved[rows, residues],
        pae=None if pae is None else pae[rows, residues, residues],
    )


def confidence(
    logits: HeadLogits, asym_id: Int[np.ndarray, " N"], config: ModelConfig
) -> Confidence:
    """Return the confidence of the first of a batch; `asym_id` numbers each residue's chain."""
    per_residue = plddt(logits.plddt[0]).double().cpu().numpy()
    if logits.pae is None:
        return Confidence(plddt=per_residue, ranking_confidence=float(per_residue.mean()))
    errors = logits.pae[0]
    centers = pae_bin_centers(config.heads.num_pae_bins, config.heads.max_pae_break)
    terms = _tm_terms(errors, centers)
    ptm = predicted_tm(terms)
    several = len(np.unique(asym_id)) > 1
    iptm = predicted_tm(terms, asym_id) if several else None
    ranking = per_residue.mean() if iptm is None else of_complex(iptm, ptm)
    return Confidence(
        plddt=per_residue,
        pae=expectation(errors, centers).cpu().numpy(),
        max_pae=float(centers[-1]),
        ptm=ptm,
        iptm=iptm,
        ranking_confidence=float(ranking),
        chain_ptm=_chain_ptm(errors, centers, asym_id) if several else None,
        chain_pair_iptm=chain_pair_tm(terms, asym_id) if several else None,
        actifptm=chain_pair_tm(terms, asym_id, _contacts(logits, config)) if several else None,
    )


def _tm_terms(
    errors: Float[Tensor, "N N bins"], centers: Float[Tensor, " bins"]
) -> Float[np.ndarray, "N N"]:
    """Return the expected `tm_term` of each pair, with d₀ for the total number of residues."""
    of_bin = tm_term(centers.numpy(), predicted_tm_d0(len(errors)))
    terms: Float[np.ndarray, "N N"] = (
        expectation(errors, torch.from_numpy(of_bin)).double().cpu().numpy()
    )
    return terms


def _chain_ptm(
    errors: Float[Tensor, "N N bins"],
    centers: Float[Tensor, " bins"],
    asym_id: Int[np.ndarray, " N"],
) -> Float[np.ndarray, " C"]:
    """Return the pTM of each chain, with d₀ for its length, in order of the first residues."""
    found = []
    for chain in dict.fromkeys(asym_id.tolist()):
        of_chain = torch.from_numpy(np.flatnonzero(asym_id == chain)).to(errors.device)
        found.append(predicted_tm(_tm_terms(errors[of_chain][:, of_chain], centers)))
    return np.array(found)


def _contacts(logits: HeadLogits, config: ModelConfig) -> Bool[np.ndarray, "N N"]:
    """Return pairs that the distogram puts within 8 Å; as in ColabFold, bins that begin below."""
    heads = config.heads
    breaks = torch.linspace(
        heads.distogram_first_break, heads.distogram_last_break, heads.num_distogram_bins - 1
    )
    near = torch.cat([torch.ones(1), (breaks < CONTACT).float()])
    likely: Bool[np.ndarray, "N N"] = (
        (expectation(logits.distogram[0], near) >= CONTACT_PROBABILITY).cpu().numpy()
    )
    return likely
