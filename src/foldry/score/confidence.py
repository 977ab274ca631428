"""What a prediction says of itself, and how right it is in that.

Predicted aligned errors (PAE) are in Å, row i aligned on residue i; pLDDT is 0–100. Axes:
N residues, C chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.errors import InputError
from foldry.features.known_atoms import backbone_frames, pseudo_beta
from foldry.residues import CA
from foldry.structure import Structure

MAX_PAE: Final = 31.75
"""Å. The largest error that AlphaFold 2's head can express."""
PLDDT_EDGES: Final = tuple(range(0, 101, 10))
PAE_EDGES: Final = (0, 2, 4, 6, 8, 10, 15, 20, 25, MAX_PAE)
"""Å."""
CONTACT: Final = 8.0
"""Å."""
IPSAE_CUTOFF: Final = 10.0
"""Å. What `ipsae.py` recommends for AlphaFold 2's and 3's PAE."""
_LIS_CUTOFF: Final = 12.0
_BLOCK: Final = 256


@dataclass(frozen=True)
class Calibration:
    """A predicted quantity against the true one, in bins of the prediction.

    Attributes:
        edges: K + 1 limits of the bins; the last bin holds its upper limit too.
        count: Values in each bin.
        predicted, true: Means in each bin, NaN where it is empty.
        pearson: Correlation of predictions and truth; NaN where either does not vary.
        error: Mean absolute error.
        calibration_error: Expected calibration error (Naeini et al., AAAI 2015): the mean over
            all values of |predicted − true| of their bin.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    predicted: tuple[float, ...]
    true: tuple[float, ...]
    pearson: float
    error: float
    calibration_error: float


def calibrate(
    predicted: Float[np.ndarray, "*dims"], true: Float[np.ndarray, "*dims"], edges: Sequence[float]
) -> Calibration:
    """How well predictions keep what they say; values whose truth is NaN are left out.

    Raises:
        InputError: Nothing is known of any, or a prediction is outside the edges.
    """
    known = np.isfinite(true)
    predicted, true = predicted[known].astype(np.float64), true[known].astype(np.float64)
    if not len(true):
        raise InputError("No prediction has a true value to compare it with.")
    if not ((predicted >= edges[0]) & (predicted <= edges[-1])).all():
        raise InputError(f"A prediction is not between {edges[0]:g} and {edges[-1]:g}.")
    bins = np.minimum(np.searchsorted(edges, predicted, side="right"), len(edges) - 1) - 1
    count = np.bincount(bins, minlength=len(edges) - 1)
    some = count > 0
    means = [
        np.divide(
            np.bincount(bins, values, len(count)),
            count,
            out=np.full(len(count), np.nan),
            where=some,
        )
        for values in (predicted, true)
    ]
    gaps = np.abs(means[0] - means[1])
    varies = np.ptp(predicted) > 0 and np.ptp(true) > 0
    return Calibration(
        edges=tuple(float(edge) for edge in edges),
        count=tuple(count.tolist()),
        predicted=tuple(means[0].tolist()),
        true=tuple(means[1].tolist()),
        pearson=float(np.corrcoef(predicted, true)[0, 1]) if varies else float("nan"),
        error=float(np.abs(predicted - true).mean()),
        calibration_error=float((gaps[some] * count[some]).sum() / count.sum()),
    )


def plddt_calibration(
    plddt: Float[np.ndarray, " N"], true_lddt: Float[np.ndarray, " N"]
) -> Calibration:
    """pLDDT (0–100) against true lDDT-Cα (0–1, NaN where there is none), both as 0–100.

    Raises:
        InputError: As `calibrate`.
    """
    return calibrate(plddt, 100 * true_lddt, PLDDT_EDGES)


def pae_calibration(
    pae: Float[np.ndarray, "N N"], true_errors: Float[np.ndarray, "N N"], max_pae: float = MAX_PAE
) -> Calibration:
    """PAE against true aligned errors (Å, NaN where there is none), at most `max_pae`.

    The error of a residue aligned on itself is 0 and is left out. Errors above `max_pae`, which
    the head cannot express, count as that.

    Raises:
        InputError: As `calibrate`.
    """
    others = ~np.eye(len(pae), dtype=bool)
    edges = (*PAE_EDGES[:-1], max(max_pae, PAE_EDGES[-1]))
    return calibrate(pae[others], np.minimum(true_errors, max_pae)[others], edges)


def aligned_errors(
    model: Float[np.ndarray, "N 37 3"],
    reference: Float[np.ndarray, "N 37 3"],
    known: Bool[np.ndarray, "N 37"],
) -> Float[np.ndarray, "N N"]:
    """Error of residue j's Cα when both are aligned on the frame of residue i, Å.

    |Tᵢ⁻¹ xⱼ − Tᵢ*⁻¹ xⱼ*| with frames T of N, CA and C (Jumper 2021, SI 1.9.7); NaN where an atom
    is unknown.

    Args:
        model, reference: Å, in atom37 order; residue n of one belongs to residue n of the other.
        known: The atoms that both have.
    """
    errors = np.full((len(model), len(model)), np.nan, np.float32)
    frames, has_frame = backbone_frames(np.stack([model, reference]), known)
    rows, columns = np.flatnonzero(has_frame), np.flatnonzero(known[:, CA])
    points = np.stack([model, reference])[:, columns, CA]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        turn, origin = frames[:, block, :, :3], frames[:, block][..., 3]
        local = (points[:, None] - origin[:, :, None]) @ turn
        errors[np.ix_(block, columns)] = np.linalg.norm(local[0] - local[1], axis=-1)
    return errors


def tm_term(distance: np.ndarray, d0: float | np.ndarray) -> np.ndarray:
    """1 / (1 + (d / d₀)²), what one residue at distance d adds to a TM-score."""
    term: np.ndarray = 1 / (1 + (distance / d0) ** 2)
    return term


def predicted_tm_d0(num_residues: int) -> float:
    """AlphaFold's d₀ in Å: 1.24 (max(N, 19) − 15)^⅓ − 1.8 (Jumper 2021, SI 1.9.7)."""
    return float(_d0(np.array(max(num_residues, 19))))


def expected_tm_terms(
    probabilities: Float[np.ndarray, "N N K"], bin_centers: Float[np.ndarray, " K"]
) -> Float[np.ndarray, "N N"]:
    """Expected `tm_term` of each pair from the probabilities of the PAE head's bins (centres in Å).

    `predicted_tm` of it is AlphaFold's own pTM and ipTM. From a PAE matrix alone, which holds
    expected errors, `tm_term(pae, predicted_tm_d0(N))` stands in for it. It is not the same: the
    mean of a function is not the function of the mean.
    """
    terms: Float[np.ndarray, "N N"] = probabilities @ tm_term(
        bin_centers, predicted_tm_d0(len(probabilities))
    )
    return terms


def predicted_tm(terms: Float[np.ndarray, "N N"], chain_id: np.ndarray | None = None) -> float:
    """pTM, or with chains ipTM: the best row's mean (Jumper 2021, SI equation 38; Evans 2021).

    Args:
        terms: From `expected_tm_terms`, or `tm_term` of a PAE matrix.
        chain_id: The chain of each residue. Only pairs of different chains then count; NaN if
            there is a single chain.
    """
    if chain_id is None:
        return float(terms.mean(axis=1).max())
    apart = chain_id[:, None] != chain_id[None]
    if not apart.any():
        return float("nan")
    return float(_masked_mean(terms, apart).max())


@dataclass(frozen=True)
class InterfaceConfidence:
    """Confidence in each pair of chains, from PAE, pLDDT and coordinates alone; 0–1.

    Matrices [C, C] have NaN on the diagonal. Where they are not symmetric, row a is aligned on
    chain a and judges chain b; the larger of the two directions is what is mostly quoted (of LIS
    the mean).

    Attributes:
        chains: Names in order.
        iptm: The best row's mean of tm_term(PAE, d₀ of both chains' residues).
        ipsae: ipSAE (Dunbrack 2025, bioRxiv 2025.02.10.637595): of each row only pairs with a PAE
            under the cutoff count, and their number gives its d₀ (`ipSAE_d0res`).
        ipsae_d0chn, ipsae_d0dom: The same with d₀ of both chains' residues, and of the residues
            that have any such pair.
        pdockq: pDockQ (Bryant et al., Nat. Commun. 2022, 13, 1265), symmetric.
        lis: Local interaction score (Kim et al., bioRxiv 2024.02.19.580970): mean of
            1 − PAE / 12 Å over pairs with a PAE under 12 Å.
        pdockq2: pDockQ2 of each chain [C] with all others (Zhu et al., Bioinformatics 2023, 39,
            btad424).
    """

    chains: tuple[str, ...]
    iptm: Float[np.ndarray, "C C"]
    ipsae: Float[np.ndarray, "C C"]
    ipsae_d0chn: Float[np.ndarray, "C C"]
    ipsae_d0dom: Float[np.ndarray, "C C"]
    pdockq: Float[np.ndarray, "C C"]
    lis: Float[np.ndarray, "C C"]
    pdockq2: Float[np.ndarray, " C"]


def interface_confidence(
    structure: Structure,
    pae: Float[np.ndarray, "N N"],
    pae_cutoff: float = IPSAE_CUTOFF,
) -> InterfaceConfidence:
    """Confidence in every pair of chains of a prediction.

    Args:
        structure: The predicted atoms; `b_factor` holds pLDDT (0–100).
        pae: Å, not symmetrised.
        pae_cutoff: Å, of ipSAE.

    Raises:
        InputError: The PAE matrix is of other residues, or not finite.
    """
    if pae.shape != (len(structure), len(structure)):
        raise InputError(
            f"The PAE matrix is {' × '.join(map(str, pae.shape))}, but {structure.name!r} has "
            f"{len(structure)} residues: give the PAE of this prediction."
        )
    if not np.isfinite(pae).all():
        raise InputError("The PAE matrix holds a value that is not a finite number.")
    pae = np.asarray(pae, np.float64)
    chains = structure.chains
    members = [np.flatnonzero(structure.chain_id == chain) for chain in chains]
    plddt = structure.b_factor[:, CA].astype(np.float64)
    beta, has_beta = pseudo_beta(structure.aatype, structure.atom_positions, structure.atom_mask)
    beta[has_beta == 0] = np.nan
    ca = np.where(structure.atom_mask[:, [CA]], structure.atom_positions[:, CA], np.nan)
    names = ("iptm", "ipsae", "ipsae_d0chn", "ipsae_d0dom", "pdockq", "lis")
    found = {name: np.full((len(chains), len(chains)), np.nan) for name in names}
    for a, rows in enumerate(members):
        for b, columns in enumerate(members):
            if a != b:
                block = pae[np.ix_(rows, columns)]
                for name, value in _ipsae(block, pae_cutoff).items():
                    found[name][a, b] = value
                found["lis"][a, b] = _lis(block)
                found["pdockq"][a, b] = _pdockq(beta, plddt, rows, columns)
    pdockq2 = np.array([_pdockq2(ca, plddt, pae, rows) for rows in members])
    return InterfaceConfidence(chains=chains, pdockq2=pdockq2, **found)


def _ipsae(block: Float[np.ndarray, "A B"], cutoff: float) -> dict[str, float]:
    """ipTM and ipSAE of one chain judged from the frames of another (`ipsae.py`, version 4)."""
    good = block < cutoff
    per_row = good.sum(axis=1, keepdims=True)
    both = _ipsae_d0(np.array(sum(block.shape)))
    domain = _ipsae_d0(np.array(good.any(axis=0).sum() + good.any(axis=1).sum()))
    return {
        "iptm": float(tm_term(block, both).mean(axis=1).max()),
        "ipsae": float(_masked_mean(tm_term(block, _ipsae_d0(per_row)), good).max()),
        "ipsae_d0chn": float(_masked_mean(tm_term(block, both), good).max()),
        "ipsae_d0dom": float(_masked_mean(tm_term(block, domain), good).max()),
    }


def _ipsae_d0(num_residues: Int[np.ndarray, "*dims"]) -> Float[np.ndarray, "*dims"]:
    """At least 1 Å, as of chains shorter than 27."""
    d0: Float[np.ndarray, "*dims"] = np.maximum(_d0(np.maximum(num_residues, 15)), 1.0)
    return d0


def _lis(block: Float[np.ndarray, "A B"]) -> float:
    near = block[block < _LIS_CUTOFF]
    return float((1 - near / _LIS_CUTOFF).mean()) if len(near) else 0.0


def _pdockq(
    beta: Float[np.ndarray, "N 3"],
    plddt: Float[np.ndarray, " N"],
    rows: Int[np.ndarray, " A"],
    columns: Int[np.ndarray, " B"],
) -> float:
    """0.724 / (1 + exp(−0.052 (x − 152.611))) + 0.018; 0 without a contact of Cβ.

    x is the mean pLDDT of the residues in contact times log₁₀ of the number of contacts.
    """
    first, second = _contacts(beta, rows, columns)
    if not len(first):
        return 0.0
    x = plddt[np.union1d(first, second)].mean() * np.log10(len(first))
    return float(0.724 / (1 + np.exp(-0.052 * (x - 152.611))) + 0.018)


def _pdockq2(
    ca: Float[np.ndarray, "N 3"],
    plddt: Float[np.ndarray, " N"],
    pae: Float[np.ndarray, "N N"],
    rows: Int[np.ndarray, " A"],
) -> float:
    """1.31 / (1 + exp(−0.0747 (x − 84.7))) + 0.005, with all digits of the published program.

    x is the mean over contacts of Cα of the chain's pLDDT times that of tm_term(PAE, 10 Å).
    """
    first, second = _contacts(ca, rows, np.setdiff1d(np.arange(len(ca)), rows))
    x = plddt[first].mean() * tm_term(pae[first, second], 10.0).mean() if len(first) else 0.0
    return float(1.31034849 / (1 + np.exp(-7.47157696e-2 * (x - 84.7326239))) + 5.01886443e-3)


def _contacts(
    points: Float[np.ndarray, "N 3"], rows: Int[np.ndarray, " A"], columns: Int[np.ndarray, " B"]
) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    """Pairs of residues at most 8 Å apart; a point that is NaN is near nothing."""
    found = [
        (np.full(near.sum(), row), columns[near])
        for row in rows
        for near in [np.linalg.norm(points[columns] - points[row], axis=1) <= CONTACT]
    ]
    first, second = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, second


def _masked_mean(
    values: Float[np.ndarray, "A B"], mask: Bool[np.ndarray, "A B"]
) -> Float[np.ndarray, " A"]:
    """Mean of each row where the mask is true; 0 where it nowhere is."""
    mean: Float[np.ndarray, " A"] = (values * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    return mean


def _d0(num_residues: Float[np.ndarray, "*dims"] | Int[np.ndarray, "*dims"]) -> np.ndarray:
    """1.24 (N − 15)^⅓ − 1.8 (Zhang and Skolnick, Proteins 2004, 57, 702), Å."""
    d0: np.ndarray = 1.24 * np.cbrt(num_residues - 15.0) - 1.8
    return d0
