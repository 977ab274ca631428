"""Relaxation within a run: selected predictions, kept results, and repetitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.predict import network, runner, stages
from foldry.predict.settings import Settings
from foldry.query import Chain, Query
from foldry.relax.result import Relaxation
from foldry.results.folder import read_results
from foldry.structure import Structure
from tests.predict.fake import fake_prediction, run

QUERY = Query("q", (Chain(("A",), "MKVLAAGIVG"),))
RELAXED = Relaxation(True, "", "CPU", 1, 2.0, 1e9, -100.0, 3, 0, 5, 0, 0.1, 0.4)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Structure]:
    """The relaxed structures; each relaxation shifts the model by 1 Å and takes no time."""
    given: list[Structure] = []

    def fake(structure: Structure, *_: object) -> tuple[Structure, Relaxation]:
        given.append(structure)
        shifted = structure.atom_positions + structure.atom_mask[..., None]
        return replace(structure, atom_positions=shifted), RELAXED

    monkeypatch.setattr(stages, "relax_structure", fake)
    monkeypatch.setattr(network, "find_platform", lambda _: None)
    monkeypatch.setattr(stages, "version", lambda _: "1.0")
    return given


def test_a_reason_names_the_setting_instead_of_the_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = replace(RELAXED, reason="Too late: raise `max_seconds`.")
    monkeypatch.setattr(stages, "relax_structure", lambda structure, *_: (structure, late))
    monkeypatch.setattr(stages, "version", lambda _: "1.0")
    found = stages.relax(fake_prediction(), Settings()).relaxation
    assert found is not None and found.reason == "Too late: raise `relax_seconds`."


@pytest.mark.parametrize(("which", "number"), [("none", 0), ("best", 1), ("all", 3)])
def test_the_requested_predictions_are_relaxed_best_first(
    which: str, number: int, calls: list[Structure]
) -> None:
    made = runner.fold(QUERY, seeds=(0, 1, 2), device="cpu", relax=which)
    assert [each.relaxation is not None for each in made] == [rank < number for rank in range(3)]
    assert [each.unrelaxed and each.unrelaxed.structure for each in made[:number]] == calls
    for each in made[:number]:
        assert each.unrelaxed is not None
        moved = each.structure.atom_positions - each.unrelaxed.structure.atom_positions
        np.testing.assert_allclose(moved[each.structure.atom_mask], 1)
        assert each.provenance.versions["openmm"] == "1.0"
        assert each.unrelaxed.relaxation is None
        assert "openmm" not in each.unrelaxed.provenance.versions


def test_another_choice_is_computed_again_and_leaves_nothing_stale(
    calls: list[Structure], tmp_path: Path
) -> None:
    best = Settings(device="cpu", seeds=(0, 1), relax="best")
    [outcome] = run([QUERY], tmp_path, best)
    assert (outcome.status, len(calls)) == ("done", 1)
    assert outcome.relaxations == (RELAXED,)
    files = {path.name for path in (tmp_path / "q").glob("unrelaxed_*.cif")}
    assert len(files) == 1
    assert run([QUERY], tmp_path, best)[0].status == "already done"
    elsewhere = replace(best, relax_platform="cpu")
    assert run([QUERY], tmp_path, elsewhere)[0].status == "already done"
    assert run([QUERY], tmp_path, replace(best, relax="all"))[0].status == "done"
    assert len(list((tmp_path / "q").glob("unrelaxed_*.cif"))) == 2
    assert len(calls) == 2, "the best was relaxed before"
    for stored in read_results(tmp_path / "q"):
        assert stored.provenance is not None
        assert stored.provenance.settings["relax"] == "all"
    assert run([QUERY], tmp_path, replace(best, relax="none"))[0].status == "done"
    assert not list((tmp_path / "q").glob("unrelaxed_*"))


def test_relaxation_runs_no_network_again(
    calls: list[Structure],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    none = Settings(device="cpu", seeds=(0, 1))
    everything = replace(none, relax="all")
    assert run([QUERY], tmp_path, none)[0].status == "done"
    assert run([QUERY], tmp_path, replace(none, relax_seconds=5.0))[0].status == "already done"
    with caplog.at_level("INFO"):
        assert run([QUERY], tmp_path, everything)[0].status == "done"
        assert "all predictions are computed again" in caplog.text
    caplog.clear()
    predicted: list[int] = []
    real = runner.predict_one

    def counted(*arguments: object) -> object:
        predicted.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "predict_one", counted)
    assert run([QUERY], tmp_path, replace(none, relax="best"))[0].status == "done"
    changed = replace(everything, relax_rounds=1)
    assert run([QUERY], tmp_path, changed)[0].status == "done"
    assert (len(predicted), len(calls)) == (0, 4)
    assert "computed again" not in caplog.text
    other = replace(changed, num_recycles=0)
    assert run([QUERY], tmp_path, other)[0].status == "done"
    assert len(predicted) == 2
    kept = [path.name for path in (tmp_path / "q" / ".unranked").iterdir()]
    relaxations = [name for name in kept if name.endswith(".relaxed.kept")]
    assert (len(kept), len(relaxations)) == (4, 2), "the others were removed"


def test_another_version_of_openmm_relaxes_again(
    calls: list[Structure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = Settings(device="cpu", relax="best")
    assert run([QUERY], tmp_path, best)[0].status == "done"
    (tmp_path / "q" / "ranked_0.cif").unlink()
    assert run([QUERY], tmp_path, best)[0].status == "done"
    assert len(calls) == 1
    monkeypatch.setattr(stages, "version", lambda name: "2.0" if name == "openmm" else "1.0")
    assert run([QUERY], tmp_path, replace(best, relax="all"))[0].status == "done"
    assert len(calls) == 2


def test_an_interrupted_run_resumes_with_the_unrelaxed_models(
    calls: list[Structure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(device="cpu", seeds=(0, 1), relax="all")
    finished = stages.relax_structure

    def interrupted(structure: Structure, *how: object) -> tuple[Structure, Relaxation]:
        if len(calls) == 1:
            raise KeyboardInterrupt
        return finished(structure, *how)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(stages, "relax_structure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run([QUERY], tmp_path / "a", settings)
    assert run([QUERY], tmp_path / "a", settings)[0].status == "done"
    assert len(calls) == 2, "one of them was relaxed before"
    assert run([QUERY], tmp_path / "b", settings)[0].status == "done"
    for name in (f"ranked_{rank}.pdb" for rank in range(2)):
        assert (tmp_path / "a/q" / name).read_text() == (tmp_path / "b/q" / name).read_text()
    again = replace(settings, force=True)
    assert run([QUERY], tmp_path / "a", again)[0].status == "done"
    assert len(calls) == 6


def test_a_failure_leaves_the_prediction_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Relaxation(False, "No reason.")
    monkeypatch.setattr(stages, "relax_structure", lambda structure, *_: (structure, failed))
    before = fake_prediction()
    after = stages.relax(before, Settings(relax="best"))
    assert after.structure is before.structure and after.unrelaxed is None
    assert after.relaxation == failed and after.provenance == before.provenance


def test_impossible_relaxation_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(_: str) -> None:
        raise InputError("relaxation needs OpenMM")

    monkeypatch.setattr(network, "find_platform", missing)
    [outcome] = run([QUERY], tmp_path / "out", Settings(relax="best"))
    assert "needs OpenMM" in str(outcome.error)
    with pytest.raises(InputError, match="needs OpenMM"):
        runner.fold(QUERY, relax="best")
    assert not (tmp_path / "out").exists()
    for wrong in ({"relax": "some"}, {"relax_platform": "tpu"}, {"relax_rounds": 0}):
        with pytest.raises(InputError):
            Settings(**wrong)  # type: ignore[arg-type]
