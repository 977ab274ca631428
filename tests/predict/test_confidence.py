"""Confidence of one prediction, and the ranking of predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.model.config import preset
from foldry.model.heads import HeadLogits
from foldry.predict.confidence import confidence
from foldry.score.confidence import predicted_tm_d0
from foldry.score.tm import tm_term
from tests.model.parity import Case

MONOMER, MULTIMER = preset("model_1_ptm"), preset("model_1_multimer_v3")
TWO_CHAINS = np.repeat([1, 2], [3, 2])
RECORDED_COMPLEXES = (
    "multi_a2b1_r1",
    "multi_hetero_earlystop_r6",
    "multi_hetero_r3",
    "multi_homo_r1",
    "multi_v2_hetero_r1",
)


def logits(plddt: torch.Tensor, pae: torch.Tensor | None) -> HeadLogits:
    """Return the logits of one prediction; other heads do not affect confidence."""
    length = len(plddt)
    return HeadLogits(
        distogram=torch.zeros(1, length, length, 64),
        masked_msa=torch.zeros(1, 1, length, 22),
        plddt=plddt[None],
        resolved=torch.zeros(1, length, 37),
        pae=None if pae is None else pae[None],
    )


@pytest.mark.parity
def test_recorded_ptm_and_iptm(parity_dir: Path) -> None:
    path = parity_dir / "data" / "confidence.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path, allow_pickle=False) as recorded:
        plddt, pae = (torch.from_numpy(recorded[f"in_{name}_logits"]) for name in ("plddt", "pae"))
        asym_id = recorded["in_asym_id"].astype(int)
        sure = confidence(logits(plddt.float(), pae.float()), asym_id, MULTIMER)
        ptm, iptm = float(recorded["ptm"]), float(recorded["iptm"])
        assert sure.ptm == pytest.approx(ptm, rel=1e-5)
        assert sure.iptm == pytest.approx(iptm, rel=1e-5)
        assert sure.ranking_confidence == pytest.approx(0.8 * iptm + 0.2 * ptm, rel=1e-5)
        np.testing.assert_allclose(sure.pae, recorded["pae"], rtol=1e-5)
        assert sure.max_pae == float(recorded["max_pae"])


@pytest.mark.parity
@pytest.mark.parametrize("name", RECORDED_COMPLEXES)
def test_recorded_complexes(parity_dir: Path, name: str) -> None:
    """pTM, ipTM and, for two chains, the larger direction of their pairwise ipTM are compared."""
    path = parity_dir / "model" / name / "outputs.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    config = Case(path.parent).model_config()
    with np.load(path, allow_pickle=False) as recorded:
        heads = ("predicted_lddt", "predicted_aligned_error", "distogram")
        plddt, pae, distogram = (torch.from_numpy(recorded[f"{head}/logits"]) for head in heads)
        asym_id = recorded["predicted_aligned_error/asym_id"].astype(int)
        said = replace(logits(plddt, pae), distogram=distogram[None])
        sure = confidence(said, asym_id, config)
        ptm, iptm = float(recorded["metrics/ptm"]), float(recorded["metrics/iptm"])
        ranking = float(recorded["metrics/ranking_confidence"])
    assert sure.ptm == pytest.approx(ptm, rel=1e-5)
    assert sure.iptm == pytest.approx(iptm, rel=1e-5)
    assert sure.ranking_confidence == pytest.approx(ranking, rel=1e-5)
    pairs = sure.chain_pair_iptm
    assert pairs is not None and sure.chain_ptm is not None
    for number, chain in enumerate(np.unique(asym_id)):
        cut = torch.from_numpy(np.flatnonzero(asym_id == chain))
        alone = confidence(logits(plddt[cut], pae[cut][:, cut]), np.ones(len(cut), int), config)
        assert sure.chain_ptm[number] == pytest.approx(alone.ptm, rel=1e-6)
    if len(pairs) == 2:
        assert np.nanmax(pairs) == pytest.approx(iptm, rel=1e-5)


def test_contacts_of_the_distogram_make_the_interface() -> None:
    """Bins that begin below 8 Å count: the 20th of 64 begins at 7.9375 Å, the 21st at 8.25 Å."""
    pae = torch.randn(5, 5, 64, generator=torch.Generator().manual_seed(0))
    for number, touching in ((19, True), (20, False)):
        distogram = torch.zeros(1, 5, 5, 64)
        distogram[0, 0, 4, number] = distogram[0, 4, 0, number] = 200.0
        said = replace(logits(torch.zeros(5, 50), pae), distogram=distogram)
        found = confidence(said, TWO_CHAINS, MULTIMER).actifptm
        assert found is not None
        of_bin = tm_term((np.arange(64) + 0.5) * 0.5, predicted_tm_d0(5))
        terms = pae.double().softmax(-1).numpy() @ of_bin
        expected = [terms[0, 4], terms[4, 0]] if touching else [0, 0]
        np.testing.assert_allclose([found[0, 1], found[1, 0]], expected, rtol=1e-5)


def test_ranking_by_hand() -> None:
    certain = torch.full((5, 5, 64), -200.0)
    certain[..., 0] = 200.0
    plddt = torch.full((5, 50), -200.0)
    plddt[:, 24] = 200.0
    # d0 of few residues is 0.168377 Å, and the first bin's centre is 0.25 Å away.
    term = 1 / (1 + (0.25 / 0.168377) ** 2)
    for config, chains, iptm, ranking in (
        (MULTIMER, TWO_CHAINS, term, term),
        (MULTIMER, np.ones(5, int), None, 49.0),
        (MONOMER, np.ones(5, int), None, 49.0),
    ):
        sure = confidence(logits(plddt, certain), chains, config)
        assert sure.ptm == pytest.approx(term, rel=1e-5)
        assert sure.iptm == (None if iptm is None else pytest.approx(iptm, rel=1e-5))
        assert sure.ranking_confidence == pytest.approx(ranking, rel=1e-5)
    without = confidence(logits(plddt, None), np.ones(5, int), preset("model_1"))
    assert (without.pae, without.max_pae, without.ptm, without.iptm) == (None,) * 4
    assert without.ranking_confidence == pytest.approx(49.0)


def test_only_errors_between_chains_enter_iptm() -> None:
    within = torch.full((5, 5, 64), -200.0)
    same = torch.from_numpy(TWO_CHAINS[:, None] == TWO_CHAINS)
    within[..., 0] = torch.where(same, 200.0, -200.0)
    within[..., 63] = torch.where(same, -200.0, 200.0)
    config = replace(MULTIMER, heads=replace(MULTIMER.heads, num_pae_bins=64))
    sure = confidence(logits(torch.zeros(5, 50), within), TWO_CHAINS, config)
    assert sure.iptm is not None and sure.iptm < 1e-3
    assert sure.ptm is not None and sure.ptm > 0.1
