"""Expected values of the confidence heads, compared with recorded official values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.model.heads import expectation, pae_bin_centers, plddt


@pytest.mark.parity
def test_recorded_confidence(parity_dir: Path) -> None:
    path = parity_dir / "data" / "confidence.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path, allow_pickle=False) as recorded:
        ours = plddt(torch.from_numpy(recorded["in_plddt_logits"])).numpy()
        np.testing.assert_allclose(ours, recorded["plddt"], rtol=1e-5)
        logits = torch.from_numpy(recorded["in_pae_logits"])
        centers = pae_bin_centers(logits.shape[-1], float(recorded["in_breaks"][-1]))
        np.testing.assert_allclose(expectation(logits, centers), recorded["pae"], rtol=1e-5)
        assert float(centers[-1]) == float(recorded["max_pae"])


def test_certain_logits_give_certain_confidence() -> None:
    logits = torch.full((3, 50), -100.0)
    logits[:, 49] = 100.0
    assert plddt(logits).tolist() == pytest.approx([99.0] * 3)
    errors = torch.full((40, 40, 64), -100.0)
    errors[..., 0] = 100.0
    assert expectation(errors, pae_bin_centers(64, 31.0)).max() == pytest.approx(0.25, abs=1e-3)
