"""Confidence from logits, against the recorded official values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.model.heads import pae_bin_centers, plddt, predicted_aligned_error, predicted_tm_score


@pytest.fixture(scope="module")
def recorded(parity_dir: Path) -> dict[str, np.ndarray]:
    path = parity_dir / "data" / "confidence.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parity
def test_recorded_confidence(recorded: dict[str, np.ndarray]) -> None:
    ours = plddt(torch.from_numpy(recorded["in_plddt_logits"])).numpy()
    np.testing.assert_allclose(ours, recorded["plddt"], rtol=1e-5)
    logits = torch.from_numpy(recorded["in_pae_logits"])
    max_break = float(recorded["in_breaks"][-1])
    ours = predicted_aligned_error(logits, max_break).numpy()
    np.testing.assert_allclose(ours, recorded["pae"], rtol=1e-5)
    assert float(predicted_tm_score(logits, max_break)) == pytest.approx(recorded["ptm"], rel=1e-5)
    asym_id = torch.from_numpy(recorded["in_asym_id"])
    iptm = predicted_tm_score(logits, max_break, asym_id)
    assert float(iptm) == pytest.approx(float(recorded["iptm"]), rel=1e-5)
    assert float(pae_bin_centers(logits.shape[-1], max_break)[-1]) == float(recorded["max_pae"])


def test_certain_logits_give_certain_confidence() -> None:
    logits = torch.full((3, 50), -100.0)
    logits[:, 49] = 100.0
    assert plddt(logits).tolist() == pytest.approx([99.0] * 3)
    errors = torch.full((40, 40, 64), -100.0)
    errors[..., 0] = 100.0
    assert float(predicted_tm_score(errors)) > 0.98
    assert predicted_aligned_error(errors).max() == pytest.approx(0.25, abs=1e-3)
