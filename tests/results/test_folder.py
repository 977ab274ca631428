"""The files of a query: names, content, and what happens when writing fails."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import gemmi
import numpy as np
import pytest

from foldry.errors import DiskFullError, InputError
from foldry.formats.afdb import confidence_json, pae_json
from foldry.formats.coordinates import read_structure
from foldry.query import Hit
from foldry.relax.result import Relaxation
from foldry.results.chain_confidence import chain_confidence, chains_json
from foldry.results.folder import (
    RECORD,
    ResultsFolder,
    read_results,
    write_query,
)
from foldry.results.prediction import Confidence, Prediction
from foldry.results.render import modelcif_text, prediction_files, ranking_json
from foldry.score.confidence import interface_confidence
from tests.predict.fake import MAX_PAE, fake_complex, fake_prediction


def write_prediction(prediction: Prediction, folder: Path, rank: int) -> list[Path]:
    """Write the files of one prediction only."""
    chains = chain_confidence(prediction)
    files = prediction_files(rank, prediction, chains, modelcif_text(prediction, chains))
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return [folder / name for name in files]


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


def test_nothing_is_written_if_the_report_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_query([replace(fake_prediction(), ptm=float("inf"))], tmp_path / "q")
    assert not (tmp_path / "q").exists()


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
    name = prediction.name
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


def test_scores_of_a_complex(tmp_path: Path) -> None:
    prediction = fake_complex()
    write_query([prediction], tmp_path)
    text = (tmp_path / f"scores_{prediction.name}.json").read_text()
    scores = json.loads(text)
    assert scores["has_clash"] is False
    assert [each["chain"] for each in scores["chains"]] == ["A", "B"]
    assert [each["residues"] for each in scores["chains"]] == [313, 313]
    assert [each["ptm"] for each in scores["chains"]] == [0.91, 0.92]
    [pair] = scores["interfaces"]
    assert pair["chains"] == ["A", "B"]
    assert pair["iptm"] == [0.8765, 0.8612]
    assert pair["actifptm"] == [0.93, 0.94]
    assert prediction.pae is not None
    found = interface_confidence(prediction.structure, prediction.pae, prediction.plddt)
    for name in ("ipsae", "lis", "interface_pae"):
        values = getattr(found, name)
        assert pair[name] == pytest.approx([values[0, 1], values[1, 0]], abs=6e-5)
    assert pair["pdockq"] == pytest.approx(found.pdockq[0, 1], abs=6e-5)
    assert (pair["contacts"], pair["clashing_atoms"]) == (126, [0, 0])


def test_chains_on_top_of_each_other_clash() -> None:
    prediction = fake_complex()
    atoms = prediction.structure.atom_positions.copy()
    atoms[313:] = atoms[:313] + 0.3
    heap = replace(prediction, structure=replace(prediction.structure, atom_positions=atoms))
    found = chain_confidence(heap)
    assert found is not None and found.clashing.all()
    assert chains_json(found)["has_clash"] is True


def test_a_heap_of_atoms_is_written_without_its_interfaces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An untrained network puts all atoms at the origin."""
    prediction = fake_complex()
    atoms = 0 * prediction.structure.atom_positions
    heap = replace(prediction, structure=replace(prediction.structure, atom_positions=atoms))
    with patch("foldry.score.neighbours._MAX_CANDIDATES", 10**6):
        write_query([heap], tmp_path)
    scores = json.loads((tmp_path / f"scores_{heap.name}.json").read_text())
    assert scores["iptm"] == heap.iptm
    assert "interfaces" not in scores
    assert "are not scored" in caplog.text


def test_modelcif_of_a_complex_names_chains_and_pairs() -> None:
    prediction = fake_complex()
    block = gemmi.cif.read_string(modelcif_text(prediction, chain_confidence(prediction)))[0]
    names = {row[0]: row.str(1) for row in block.find("_ma_qa_metric.", ["id", "name"])}
    chains = dict(
        list(row)
        for row in block.find("_ma_entity_instance_feature.", ["feature_id", "label_asym_id"])
    )
    columns = ["feature_id_1", "feature_id_2", "metric_id", "metric_value"]
    pairs = {
        (names[row[2]], chains[row[0]], chains[row[1]]): float(row[3])
        for row in block.find("_ma_qa_metric_feature_pairwise.", columns)
    }
    assert pairs["ipTM", "A", "B"] == pytest.approx(0.8765, abs=6e-4)
    assert pairs["ipTM", "B", "A"] == pytest.approx(0.8612, abs=6e-4)
    assert ("pDockQ", "A", "B") in pairs and ("pDockQ", "B", "A") not in pairs
    assert {name for name, *_ in pairs} == {
        "ipTM",
        "actifpTM",
        "ipSAE",
        "LIS",
        "pDockQ",
        "Interface PAE",
    }


def test_relaxation_and_the_structure_before_it(tmp_path: Path) -> None:
    prediction = fake_prediction()
    relaxation = Relaxation(True, "", "CPU", 1, 2.5, 10.0, -20.0, 3, 0, 5, 1, 0.1, 0.4)
    atoms = prediction.structure.atom_positions + prediction.structure.atom_mask[..., None]
    versions = {**prediction.provenance.versions, "openmm": "8.1", "pdbfixer": "1.9"}
    relaxed = replace(
        prediction,
        structure=replace(prediction.structure, atom_positions=atoms),
        provenance=replace(prediction.provenance, versions=versions),
        relaxation=relaxation,
        unrelaxed=prediction,
    )
    written = {path.name for path in write_prediction(relaxed, tmp_path, 0)}
    name = prediction.name
    assert {f"unrelaxed_{name}.cif", f"unrelaxed_{name}.pdb"} <= written
    scores = json.loads((tmp_path / f"scores_{name}.json").read_text())
    assert scores["relaxation"] == asdict(relaxation)
    assert scores["provenance"]["versions"] == versions

    kept, moved = (
        gemmi.cif.read_file(str(tmp_path / file))[0]
        for file in (f"unrelaxed_{name}.cif", "ranked_0.cif")
    )
    step = "_ma_protocol_step."
    assert list(kept.find_values(f"{step}step_name")) == ["Prediction"]
    assert list(moved.find_values(f"{step}step_name")) == ["Prediction", "Relaxation"]
    assert list(kept.find_values("_software.name")) == ["foldry", "torch", "numpy"]
    assert list(moved.find_values("_software.name"))[3:] == ["openmm", "pdbfixer"]
    assert "clashes_before" not in list(kept.find_values("_ma_software_parameter.name"))
    assert "clashes_before" in list(moved.find_values("_ma_software_parameter.name"))
    assert (tmp_path / f"unrelaxed_{name}.cif").read_text() == modelcif_text(prediction)
    for file, said in ((f"unrelaxed_{name}.pdb", False), ("ranked_0.pdb", True)):
        assert ("REMARK 999 Relaxed" in (tmp_path / file).read_text()) is said


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


def test_a_structure_that_pdb_cannot_hold_has_no_pdb_file(
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


def test_a_file_is_complete_or_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = fake_prediction()
    write_query([prediction], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, _: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        DiskFullError, match=r"ranked_0.cif cannot be written because no space is left"
    ):
        write_query([replace(prediction, ptm=0.1)], tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before


class Made:
    """Returns predictions and counts the requests."""

    def __init__(self, *predictions: Prediction) -> None:
        self.predictions = predictions
        self.asked = 0

    @contextmanager
    def predict(self, folder: Path | None) -> Iterator[tuple[Prediction, ...]]:
        self.asked += 1
        yield self.predictions


def test_published_results_are_recognised(tmp_path: Path) -> None:
    made = Made(fake_prediction())
    query, folder = made.predictions[0].query, ResultsFolder(tmp_path)
    assert folder.publish(query, "key", made.predict)
    assert not folder.publish(query, "key", made.predict)
    assert made.asked == 1
    # The state that a run with other settings leaves if it is killed while it writes.
    write_query([fake_prediction(seed=1)], tmp_path / query.name)
    assert folder.publish(query, "key", made.predict)
    assert not folder.publish(query, "key", made.predict)
    assert folder.publish(query, "other", made.predict)
    assert ResultsFolder(tmp_path, force=True).publish(query, "other", made.predict)
    assert made.asked == 4


def test_files_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    made = Made(fake_prediction(seed=1), fake_prediction(seed=2))
    query, folder = made.predictions[0].query, ResultsFolder(tmp_path)

    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with patch("foldry.results.folder._finish", killed), pytest.raises(KeyboardInterrupt):
        folder.publish(query, "two", made.predict)
    place = tmp_path / query.name
    assert (place / "ranked_1.cif").exists()
    (place / "mine.txt").touch()
    assert folder.publish(query, "one", Made(fake_prediction()).predict)
    written = json.loads((place / RECORD).read_text())["files"]
    assert {path.name for path in place.iterdir()} == {*written, RECORD, "mine.txt"}
    assert not (place / "ranked_1.cif").exists()


def test_only_other_predictions_are_replaced_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Made(fake_prediction())
    query, folder = made.predictions[0].query, ResultsFolder(tmp_path)
    caplog.set_level("INFO")
    for key in ("k", "k-best", "k-all", "k"):
        assert folder.publish(query, key, made.predict)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert folder.publish(query, "other-all", made.predict)
    assert [record.levelname for record in caplog.records][-1] == "WARNING"


def test_templates_are_named_in_the_scores_and_the_report(tmp_path: Path) -> None:
    prediction = fake_prediction()
    [chain] = prediction.query.chains
    hit = Hit("1abc_X", np.array([[0, 0]]), prediction.structure)
    query = replace(prediction.query, chains=(replace(chain, templates=(hit,)),))
    write_query([replace(prediction, query=query)], tmp_path)
    scores = json.loads((tmp_path / f"scores_{prediction.name}.json").read_text())
    assert scores["templates"] == {"A": ["1abc_X"]}
    assert '"templates":{"A":["1abc_X"]}' in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "k", "files": ["ranked_0.cif"]}'])
def test_a_damaged_note_means_not_finished(tmp_path: Path, text: str) -> None:
    made = Made(fake_prediction())
    query, folder = made.predictions[0].query, ResultsFolder(tmp_path)
    assert folder.publish(query, "k", made.predict)
    (tmp_path / query.name / RECORD).write_text(text)
    assert folder.publish(query, "k", made.predict)
    assert not folder.publish(query, "k", made.predict)


def test_a_note_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    made = Made(fake_prediction())
    query, folder = made.predictions[0].query, ResultsFolder(tmp_path)
    (tmp_path / "mine.txt").touch()
    (tmp_path / query.name).mkdir()
    note = {"key": "other", "files": {"../mine.txt": "", "/etc/hostname": ""}}
    (tmp_path / query.name / RECORD).write_text(json.dumps(note))
    assert folder.publish(query, "k", made.predict)
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("made", [fake_prediction, fake_complex])
def test_a_folder_is_read_back(made: Callable[..., Prediction], tmp_path: Path) -> None:
    predictions = [made(seed=1), made(seed=0)]
    write_query(predictions, tmp_path)
    found = read_results(tmp_path)
    assert [each.name for each in found] == [each.name for each in predictions]
    for rank, (stored, given) in enumerate(zip(found, predictions, strict=True)):
        chains = chain_confidence(given)
        assert stored.structure == tmp_path / f"ranked_{rank}.cif"
        assert stored.pae == tmp_path / f"pae_{given.name}.json"
        assert stored.provenance == given.provenance and stored.relaxation is None
        assert stored.numbers["ptm"] == given.ptm and stored.numbers["iptm"] == given.iptm
        assert stored.numbers["mean_plddt"] == given.mean_plddt
        np.testing.assert_allclose(stored.plddt, given.plddt, atol=0.0051)
        assert len(stored.interfaces) == (len(chains.pairs()) if chains else 0)
        for interface, (a, b) in zip(
            stored.interfaces, chains.pairs() if chains else [], strict=True
        ):
            assert chains is not None
            for each in chains.of_pairs:
                quoted = interface.number(each.measure.key)
                assert quoted == pytest.approx(each.of(a, b), abs=1e-4), each.measure.key


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ranking_debug.json", '{"order": []}'),
        ("ranking_debug.json", '{"order": "x"}'),
        ("ranking_debug.json", '{"order": [["x"]]}'),
        ("ranking_debug.json", '{"order": ["' + "x" * 300 + '"]}'),
        ("ranking_debug.json", '{"order": ' + "[" * 100_000),
        ("scores_model_1_ptm_pred_0.json", "[1]"),
        ("scores_model_1_ptm_pred_0.json", "[" * 100_000),
        ("scores_model_1_ptm_pred_0.json", '{"ptm": "0.8", "plddt": [], "provenance": {}}'),
        ("scores_model_1_ptm_pred_0.json", '{"chains": [{"chain": "A", "ptm": "x"}]}'),
        ("scores_model_1_ptm_pred_0.json", '{"plddt": 1, "provenance": {"seed": 1}}'),
        *(
            ("scores_model_1_ptm_pred_0.json", f'{{"{key}": {value}, "provenance": {{}}}}')
            for key, value in [
                ("plddt", "[1, null]"),
                ("plddt", '[1, "NaN"]'),
                ("plddt", "[1, NaN]"),
                ("plddt", '"12"'),
                ("plddt", "[1e999]"),
                ("plddt", '[], "ptm": NaN'),
                ("plddt", '[], "iptm": Infinity'),
            ]
        ),
    ],
)
def test_a_folder_without_results_gets_one_sentence(tmp_path: Path, name: str, text: str) -> None:
    write_query([fake_prediction()], tmp_path)
    (tmp_path / name).write_text(text)
    damaged = "scores_model_1_ptm_pred_0"
    with pytest.raises(InputError, match=r"is not a folder of" if "order" in text else damaged):
        read_results(tmp_path)


@pytest.mark.parametrize("plddt", ["null", "[null]", "[90, null]", "{}", '"9"'])
def test_a_damaged_plddt_is_refused(tmp_path: Path, plddt: str) -> None:
    write_query([fake_prediction()], tmp_path)
    [path] = tmp_path.glob("scores_*.json")
    scores = json.loads(path.read_text()) | {"plddt": json.loads(plddt)}
    path.write_text(json.dumps(scores))
    with pytest.raises(InputError, match=r"scores_.+\.json is damaged: predict it again"):
        read_results(tmp_path)


def test_the_names_of_a_ranking_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.results.folder._MAX_NAMES", 2)
    for number, fits in ((2, True), (3, False), (4, False)):
        write_query([fake_prediction(seed=seed) for seed in range(number)], tmp_path)
        if fits:
            assert len(read_results(tmp_path)) == number
        else:
            with pytest.raises(InputError, match="is not a folder of one query's results"):
                read_results(tmp_path)


def test_damage_to_another_prediction_does_not_matter(tmp_path: Path) -> None:
    write_query([fake_prediction(seed=0), fake_prediction(seed=1)], tmp_path)
    (tmp_path / "scores_model_1_ptm_pred_1.json").write_text("{")
    assert read_results(tmp_path, most=1)[0].name == "model_1_ptm_pred_0"
    with pytest.raises(InputError, match=r"pred_1\.json is damaged"):
        read_results(tmp_path)


def test_the_label_of_a_ranking_is_that_of_the_official_program() -> None:
    """If any prediction has an ipTM, the numbers are not pLDDT."""
    chain, dimer = fake_prediction(), fake_complex()
    assert set(json.loads(ranking_json([chain]))) == {"plddts", "order"}
    assert set(json.loads(ranking_json([dimer]))) == {"iptm+ptm", "order"}
    assert set(json.loads(ranking_json([chain, dimer]))) == {"iptm+ptm", "order"}


@pytest.mark.parametrize("name", ["chain_ptm", "chain_pair_iptm", "actifptm"])
def test_a_confidence_is_printed_without_the_matrices_of_its_chains(name: str) -> None:
    confidence = Confidence(plddt=np.ones(2), ranking_confidence=1.0)
    text = repr(replace(confidence, **{name: np.ones((2,) if name == "chain_ptm" else (2, 2))}))
    assert "ranking_confidence=1.0" in text and f"{name}=" not in text
