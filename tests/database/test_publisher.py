"""Predictions that `foldry fold` and `foldry screen` publish in a database as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from foldry.cli.main import main
from foldry.database.database import Database
from foldry.database.publisher import DatabasePublisher
from foldry.formats.a3m import to_a3m
from foldry.results.folder import ResultsFolder
from foldry.results.prediction import Prediction
from foldry.structure import Structure
from tests.cli.conftest import weights
from tests.database.conftest import Make, where_is
from tests.predict.fake import fake_complex, fake_prediction

__all__ = ["weights"]

Predict = Callable[[Path | None], AbstractContextManager[tuple[Prediction, ...]]]


def predicted(*predictions: Prediction) -> Predict:
    """Return what gives a publisher these predictions."""

    @contextmanager
    def predict(folder: Path | None) -> Iterator[tuple[Prediction, ...]]:
        yield predictions

    return predict


def never(folder: Path | None) -> AbstractContextManager[tuple[Prediction, ...]]:
    """Fail: nothing is to be computed."""
    raise AssertionError("it predicts again")


def assert_same_atoms(one: Structure, other: Structure) -> None:
    assert (one.atom_mask == other.atom_mask).all()
    assert np.abs(one.atom_positions - other.atom_positions).max() < 0.00051
    assert one.sequence == other.sequence


@pytest.mark.parametrize("made", [fake_prediction, fake_complex])
def test_results_are_published_with_all_that_they_say(
    make_sqlite: Make, tmp_path: Path, made: Callable[..., Prediction]
) -> None:
    database = make_sqlite()
    best, other = made(seed=0), made(seed=1)
    query = best.query
    publisher = DatabasePublisher(where_is(database), tmp_path)
    assert ResultsFolder(tmp_path).publish(query, "key", predicted(best, other))
    for _ in range(2):
        assert not publisher.publish(query, "key", never)
    entry = database.entry(query.name)
    assert (entry.tool, entry.provider, entry.latest.number) == ("Foldry", "Example Lab", 1)
    assert entry.latest.content_key == "key"
    assert entry.latest.created == "2025-11-20T12:00:00Z"
    assert entry.latest.tool_version == "0.1.0"
    assert [chain.sequence for chain in entry.chains] == [c.sequence for c in query.chains]
    for rank, prediction in enumerate((best, other)):
        model = database.model(entry, rank=rank)
        assert_same_atoms(model.record.structure, prediction.structure)
        np.testing.assert_allclose(model.record.plddt, prediction.plddt, atol=0.0051)
        assert model.pae is not None
        assert prediction.pae is not None
        # 0.1 Å in the results folder; whole Å in the record of a single chain.
        step = 0.1 if entry.is_complex else 1.0
        np.testing.assert_allclose(model.pae, prediction.pae, atol=step / 2 + 0.051)
        assert model.record.scores["ptm"] == pytest.approx(prediction.ptm, abs=1e-4)
        settings = model.record.prediction.parameters
        assert settings["seed"] == prediction.provenance.seed
    rows = [to_a3m(chain.alignment).encode() for chain in query.chains if chain.alignment]
    assert database.alignments(entry) == rows


def test_results_of_another_run_are_not_published(make_sqlite: Make, tmp_path: Path) -> None:
    database, prediction = make_sqlite(), fake_prediction()
    publisher = DatabasePublisher(where_is(database), tmp_path)
    ResultsFolder(tmp_path).publish(prediction.query, "key", predicted(prediction))
    assert not publisher.publish(prediction.query, "another key", never)
    assert database.num_entries == 0


def test_folded_queries_are_in_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(">sp|P00974|BPT1_BOVIN\nMKTAYIAKQR\n>two\nMKTAYIAKQS\n")
    with Database.create("lab.db", provider="Lab") as database:
        command = ["fold", "q.fasta", "-o", "out", "--num-recycles", "0", "--device", "cpu"]
        assert main(command) == 0
        for _ in range(2):  # first what was folded before
            assert main([*command, "--db", "lab.db"]) == 0
        said = capsys.readouterr().out
        assert said.count("already done") == 4
        assert said.count("sp_P00974_BPT1_BOVIN: AF-P00974-F1 v1 in lab.db\n") == 1
        assert said.count("sp_P00974_BPT1_BOVIN: AF-P00974-F1 v1 in lab.db, as before\n") == 1
        names = [(entry.entry_id, entry.name) for entry in database.entries()]
        assert names == [
            ("AF-P00974-F1", "sp_P00974_BPT1_BOVIN"),
            (f"AF-{database.block}000000001", "two"),
        ]
        # The results folder itself is the same prediction.
        assert main(["db", "add", "lab.db", "out"]) == 0
        assert main([*command, "--seeds", "1", "--db", "lab.db"]) == 0
        assert [len(entry.versions) for entry in database.entries()] == [2, 2]


def test_screened_pairs_are_in_the_database(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.csv").write_text("id,sequence\nbait,MKTAYIAKQRQISF\na,MKVLAAGIVG\n")
    with Database.create("lab.db", provider="Lab") as database:
        command = ["screen", "q.csv", "--bait", "bait", "--weights", str(weights), "-o", "out"]
        assert main([*command, "--num-recycles", "0", "--device", "cpu", "--db", "lab.db"]) == 0
        [entry] = database.entries()
        assert (entry.name, entry.is_complex, entry.num_residues) == ("bait_and_a", True, 24)


def test_a_database_is_checked_before_anything_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(">one\nMKTAYIAKQR\n")
    assert main(["fold", "q.fasta", "-o", "out", "--db", "none.db"]) == 3
    assert "none.db is not a database: check its name" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["q.fasta"]
