"""The files of a query: names, content, and what happens when writing fails."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from foldry.formats.afdb import confidence_json, pae_json
from foldry.formats.coordinates import read_structure
from foldry.predict.write import prediction_name, write_prediction, write_query
from tests.predict.fake import MAX_PAE, fake_prediction


def test_the_files_of_a_query(tmp_path: Path) -> None:
    best, other = fake_prediction(seed=3), fake_prediction(model_name="model_4", pae=False)
    written = write_query([best, other], tmp_path / "new" / "1adz")
    assert [path.name for path in written] == [
        "ranked_0.cif",
        "ranked_0.pdb",
        "confidence_model_1_ptm_pred_3.json",
        "pae_model_1_ptm_pred_3.json",
        "scores_model_1_ptm_pred_3.json",
        "ranked_1.cif",
        "ranked_1.pdb",
        "confidence_model_4_pred_0.json",
        "scores_model_4_pred_0.json",
        "ranking_debug.json",
        "report.html",
    ]
    assert sorted(written) == sorted((tmp_path / "new" / "1adz").iterdir())


@pytest.mark.parametrize("suffix", ["cif", "pdb"])
def test_the_structure_is_read_back(tmp_path: Path, suffix: str) -> None:
    prediction = fake_prediction()
    write_prediction(prediction, tmp_path, 0)
    again = read_structure(tmp_path / f"ranked_0.{suffix}")
    wanted = prediction.structure
    assert again.sequence == prediction.query.chains[0].sequence
    np.testing.assert_array_equal(again.residue_number, wanted.residue_number)
    np.testing.assert_array_equal(again.atom_mask, wanted.atom_mask)
    np.testing.assert_allclose(again.atom_positions, wanted.atom_positions, atol=6e-4)
    np.testing.assert_allclose(again.b_factor, wanted.b_factor, atol=6e-3)


def test_json_files(tmp_path: Path) -> None:
    prediction = fake_prediction()
    assert prediction.pae is not None
    write_prediction(prediction, tmp_path, 2)
    name = prediction_name(prediction)
    text = (tmp_path / f"confidence_{name}.json").read_text()
    assert text == confidence_json(prediction.plddt)
    assert (tmp_path / f"pae_{name}.json").read_text() == pae_json(prediction.pae, MAX_PAE)
    scores = json.loads((tmp_path / f"scores_{name}.json").read_text())
    np.testing.assert_allclose(scores.pop("plddt"), prediction.plddt, atol=0.0051)
    assert scores == {
        "name": "1adz",
        "prediction": "model_1_ptm_pred_0",
        "rank": 2,
        "ranking_confidence": prediction.ranking_confidence,
        "mean_plddt": pytest.approx(prediction.plddt.mean()),
        "ptm": 0.8123,
        "iptm": None,
        "provenance": asdict(prediction.provenance),
    }


def test_ranking_names_the_best_first(tmp_path: Path) -> None:
    best = fake_prediction(seed=1)
    other = replace(fake_prediction(seed=2), ranking_confidence=12.5)
    write_query([best, other], tmp_path)
    assert json.loads((tmp_path / "ranking_debug.json").read_text()) == {
        "plddts": {"model_1_ptm_pred_1": best.ranking_confidence, "model_1_ptm_pred_2": 12.5},
        "order": ["model_1_ptm_pred_1", "model_1_ptm_pred_2"],
    }


def test_representations_are_kept(tmp_path: Path) -> None:
    single, pair = np.ones((63, 4), np.float32), np.zeros((63, 63, 2), np.float32)
    write_prediction(replace(fake_prediction(), single=single, pair=pair), tmp_path, 0)
    with np.load(tmp_path / "representations_model_1_ptm_pred_0.npz") as kept:
        np.testing.assert_array_equal(kept["single"], single)
        np.testing.assert_array_equal(kept["pair"], pair)


def test_what_pdb_cannot_hold_has_no_pdb_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prediction = fake_prediction()
    (chain,) = prediction.query.chains
    prediction = replace(
        prediction,
        query=replace(prediction.query, chains=(replace(chain, ids=("LONG",)),)),
        structure=replace(prediction.structure, chain_id=np.full(63, "LONG")),
    )
    names = [path.name for path in write_prediction(prediction, tmp_path, 0)]
    assert "ranked_0.cif" in names
    assert "ranked_0.pdb" not in names
    assert "does not fit into the PDB format" in caplog.text


def test_a_file_is_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = fake_prediction()
    write_query([prediction], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_query([replace(prediction, ptm=0.1)], tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before}
    assert after == before
