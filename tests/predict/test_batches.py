"""Features that pass a network together give the predictions that each gives alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foldry.cli.main import main
from foldry.errors import InputError
from foldry.features.features import Features
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import read_structure
from foldry.kernels import matmul
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.predict import runner, stages
from foldry.predict.batches import MAX_MEMBERS, MAX_PADDING, MAX_PAIRS, MAX_SEEDS, grouped
from foldry.predict.network import load_model
from foldry.predict.parallel import run_parallel
from foldry.predict.runner import Outcome, Predict
from foldry.predict.settings import Settings
from foldry.predict.stages import RawPrediction
from foldry.processes import tuning
from foldry.query import Alignment, Chain, Query
from foldry.results.folder import ResultsFolder
from foldry.results.prediction import Prediction
from foldry.weights.networks import find_networks
from tests.predict.fake import EXAMPLE
from tests.weights.archive import small

ROWS = parse_a3m((EXAMPLE / "1adz.a3m").read_text()).sequences
LENGTHS = ((0, 30), (12, 43), (30, 63))


@cache
def network(name: str) -> AlphaFold:
    """Return mini, or a small official network with random parameters, none of them zero."""
    if name == "mini":
        [mini] = find_networks(name)
        return load_model(mini, Settings(device="cpu"))
    torch.manual_seed(0)
    model = AlphaFold(small(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def piece(start: int, end: int, depth: int) -> Chain:
    """A piece of the Kunitz domain with its alignment."""
    rows = [row[start:end] for row in ROWS[:depth]]
    return Chain(("A",), rows[0], Alignment.of([f"row{n}" for n in range(depth)], rows))


def queries(config: ModelConfig, *, templates: bool) -> list[Query]:
    """Queries of different lengths and depths; complexes if the network reads them."""
    found = []
    for number, ends in enumerate(LENGTHS):
        chains = [piece(*ends, 5 + 7 * number)]
        if config.features.share_rows or "multimer" in config.name:
            chains.append(replace(piece(3, 20 + 2 * number, 9), ids=("B",)))
        found.append(Query(f"q{number}", tuple(chains)))
    if templates:
        known = read_structure(EXAMPLE / "1adz.cif")
        found = [stages.with_templates(query, [known] * (n + 1)) for n, query in enumerate(found)]
    return found


def featured(model: AlphaFold, settings: Settings, *, templates: bool = False) -> list[Features]:
    asked = queries(model.config, templates=templates)
    return [
        stages.featurise(query, model.config, seed, settings) for seed, query in enumerate(asked)
    ]


def alone(batch: Sequence[Features], model: AlphaFold, settings: Settings) -> list[RawPrediction]:
    return [stages.infer(each, model, settings, lambda *_: None) for each in batch]


def together(
    batch: Sequence[Features], model: AlphaFold, settings: Settings
) -> list[RawPrediction | ArithmeticError]:
    return stages.infer_batch(batch, model, settings, lambda *_: None)


def assert_alike(
    found: RawPrediction | ArithmeticError, expected: RawPrediction, within: float = 1e-3
) -> None:
    assert isinstance(found, RawPrediction)
    for each in fields(expected):
        ours, theirs = getattr(found, each.name), getattr(expected, each.name)
        if theirs is None:
            assert ours is None
            continue
        assert np.shape(ours) == np.shape(theirs), each.name
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=within, err_msg=each.name)


@pytest.mark.parametrize("name", ["mini", "model_1_ptm", "model_1_multimer_v3"])
@pytest.mark.parametrize("templates", [False, True])
def test_a_batch_gives_the_predictions_of_its_members(name: str, templates: bool) -> None:
    model = network(name)
    settings = Settings(
        num_recycles=1,
        recycle_tolerance=0,
        num_ensemble=2,
        max_msa=(8, 12),
        save_representations=True,
    )
    if name == "mini":
        settings = replace(settings, max_msa=(8, 0))
    batch = featured(model, settings, templates=templates)
    for found, expected in zip(
        together(batch, model, settings), alone(batch, model, settings), strict=True
    ):
        # Medians of the distogram, from which mini starts, amplify rounding.
        assert_alike(found, expected, within=1e-2 if name == "mini" else 1e-3)
        assert expected.num_recycles == 1


@pytest.mark.parametrize(("narrow", "is_one"), [(64, True), (1, False)])
def test_a_small_network_computes_a_short_query_with_one_thread(
    narrow: int, is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "is_command", lambda: True)
    monkeypatch.setattr(matmul, "NARROW", narrow)
    model, settings, seen = network("mini"), Settings(max_msa=(8, 0)), set[int]()
    batch = featured(model, settings)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stages.infer_batch(batch, model, settings, lambda *_: seen.add(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1 if is_one else 2}


def test_each_member_stops_recycling_by_itself() -> None:
    model = network("model_1_ptm")
    for tolerance in np.geomspace(10, 0.01, 30):
        settings = Settings(
            num_recycles=4, recycle_tolerance=float(tolerance), num_ensemble=1, max_msa=(8, 12)
        )
        batch = featured(model, settings)
        expected = alone(batch, model, settings)
        ends = [each.num_recycles for each in expected]
        if len(set(ends)) > 1:
            break
    assert len(set(ends)) > 1
    for found, each in zip(together(batch, model, settings), expected, strict=True):
        assert_alike(found, each)


def test_a_member_that_is_not_finite_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = network("mini"), Settings()
    batch = featured(model, settings)
    expected = alone(batch, model, settings)
    true = stages.confidence

    def broken(logits: object, asym_id: np.ndarray, config: ModelConfig) -> object:
        sure = true(logits, asym_id, config)  # type: ignore[arg-type]
        if len(asym_id) != len(batch[1].aatype):
            return sure
        return replace(sure, plddt=np.full_like(sure.plddt, np.nan))

    monkeypatch.setattr(stages, "confidence", broken)
    first, second, third = together(batch, model, settings)
    assert isinstance(second, ArithmeticError)
    assert_alike(first, expected[0], within=1e-2)
    assert_alike(third, expected[2], within=1e-2)


CPU = Settings(device="cpu")


def peptide(name: str, length: int, depth: int = 1, **more: object) -> Query:
    chain = piece(0, length, depth) if depth > 1 else Chain(("A",), ROWS[0][:length])
    return Query(name, (chain,), **more)  # type: ignore[arg-type]


@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 5), st.booleans(), st.sampled_from([(), (7,)]))
    ),
    most=st.integers(1, 20),
)
def test_every_query_is_in_one_group_within_the_limits(
    shapes: list[tuple[int, int, bool, tuple[int, ...]]], most: int
) -> None:
    asked = []
    for length, depth, is_dimer, seeds in shapes:
        query = peptide("q", length, depth, seeds=seeds)
        [chain] = query.chains
        asked.append(replace(query, chains=(replace(chain, ids=("A", "B")[: 1 + is_dimer]),)))
    groups = grouped(asked, CPU, most)
    assert sorted(number for group in groups for number in group) == list(range(len(asked)))
    assert groups == sorted(sorted(group) for group in groups)
    for group in groups:
        if len(group) == 1:
            continue
        members = [asked[number] for number in group]
        assert len(group) <= min(MAX_MEMBERS, most)
        assert {query.num_chains for query in members} == {1}
        assert len({query.seeds for query in members}) == 1
        for sizes in (
            [query.num_residues for query in members],
            [sum(each.num_rows for each in query.chains[0].alignments) or 1 for query in members],
        ):
            assert max(sizes) * len(sizes) / sum(sizes) - 1 <= MAX_PADDING + 1e-9
        assert max(query.num_residues for query in members) <= 32


def test_queries_form_groups_where_a_batch_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(asked: Sequence[Query], settings: Settings = CPU) -> list[int]:
        return [len(group) for group in grouped(asked, settings, len(asked))]

    short = [peptide(f"q{n}", 30 - n % 3) for n in range(10)]
    assert sorted(sizes(short)) == [2, 8]
    assert grouped([short[0], peptide("l", 60), short[1]], CPU, 3) == [[0, 2], [1]]
    assert sizes(short, replace(CPU, dropout=True)) == [1] * 10
    assert sizes(short, replace(CPU, relax="best")) == [1] * 10
    assert sizes(short[:2], replace(CPU, seeds=range(MAX_SEEDS))) == [2]
    assert sizes(short[:2], replace(CPU, seeds=range(MAX_SEEDS + 1))) == [1, 1]
    deep = [peptide(f"d{n}", 29 + n, 9) for n in range(2)]
    assert grouped([short[0], *deep, short[1]], CPU, 4) == [[0, 3], [1, 2]]
    longer = [Query(f"l{n}", (Chain(("A",), "A" * 250),)) for n in range(4)]
    for gpu, found in ((False, [1] * 4), (True, [2, 2])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert sizes(longer, Settings()) == found
        assert sizes(longer) == [1] * 4
    assert MAX_PAIRS < 3 * 250**2
    too_long = [Query(f"l{n}", (Chain(("A",), "A" * 257),)) for n in range(2)]
    assert sizes(too_long, Settings()) == [1, 1]


class Collected:
    """Keeps the predictions of each query by its name."""

    def __init__(self) -> None:
        self.found: dict[str, list[Prediction]] = {}

    def publish(self, query: Query, key: str, predict: Predict) -> bool:
        with predict(None) as predictions:
            self.found[query.name] = list(predictions)
        return True


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of queries in each call of the network."""
    found: list[int] = []
    real = stages.infer_batch

    def counted(batch: Sequence[Features], *rest: object) -> object:
        found.append(len(batch))
        return real(batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "infer_batch", counted)
    return found


def predicted(
    asked: Sequence[Query], settings: Settings = CPU, *, batched: bool = True
) -> tuple[list[Outcome], dict[str, list[Prediction]]]:
    """Return the outcomes and predictions of queries."""
    kept = Collected()
    how: Iterator[Outcome] = (
        run_parallel(asked, settings, [kept], [])
        if batched
        else runner.run(asked, settings, [kept])
    )
    return list(how), kept.found


def assert_same_predictions(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.query, ours.name) == (theirs.query, theirs.name)
        made = [replace(each.provenance, created="") for each in (ours, theirs)]
        assert made[0] == made[1]
        assert ours.structure.sequence == theirs.structure.sequence
        for name in ("plddt", "pae"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-2)
        atoms = ours.structure.atom_positions, theirs.structure.atom_positions
        np.testing.assert_allclose(*atoms, atol=1e-2)


@pytest.mark.parametrize("seeds", [(), (5, 3)])
def test_queries_in_a_batch_get_the_predictions_of_single_ones(
    passed: list[int], seeds: tuple[int, ...]
) -> None:
    asked = [peptide(f"q{n}", 27 + n % 4) for n in range(4)]
    asked += [peptide(f"d{n}", 30 - n, 9) for n in range(4)]
    asked.insert(2, peptide("long", 40))
    known = read_structure(EXAMPLE / "1adz.cif")
    asked[-1] = stages.with_templates(asked[-1], [known])
    asked[-2] = stages.with_templates(asked[-2], [known, known])
    settings = replace(CPU, seeds=seeds)
    outcomes, found = predicted(asked, settings)
    times = len(seeds) or 1
    several = [1, 1]  # for mini, each of several templates needs a pass
    assert sorted(passed) == sorted([4, 1, 2, 1, *several] * times), "a template, a pass of its own"
    expected_outcomes, expected = predicted(asked, settings, batched=False)
    assert [each.name for each in outcomes] == [query.name for query in asked]
    assert {each.status for each in outcomes} == {"done"}
    for ours, theirs in zip(outcomes, expected_outcomes, strict=True):
        assert ours.num_predictions == times
        assert ours.mean_plddt == pytest.approx(theirs.mean_plddt, abs=1e-2)
        assert_same_predictions(found[ours.name], expected[ours.name])
    assert len({each.seconds for each in outcomes if each.name[0] == "q"}) == 1, "their mean"


def test_a_member_that_fails_does_not_fail_the_others(
    passed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [peptide(name, 28 + n) for n, name in enumerate(("one", "bad", "endless", "two"))]
    _, expected = predicted(asked, batched=False)
    del passed[:]
    featurise, confidence = stages.featurise, stages.confidence

    def refused(query: Query, *rest: object) -> Features:
        if query.name == "bad":
            raise InputError("is not usable", "give another", where="Its template")
        return featurise(query, *rest)  # type: ignore[arg-type]

    def broken(logits: object, asym_id: np.ndarray, config: ModelConfig) -> object:
        sure = confidence(logits, asym_id, config)  # type: ignore[arg-type]
        return replace(sure, plddt=sure.plddt * np.nan) if len(asym_id) == 30 else sure

    monkeypatch.setattr(stages, "featurise", refused)
    monkeypatch.setattr(stages, "confidence", broken)
    outcomes, found = predicted(asked)
    assert passed == [3, 1], "one pass for all, and another for the member that is not finite"
    assert [each.status for each in outcomes] == ["done", "failed", "failed", "done"]
    assert str(outcomes[1].error) == "Its template is not usable: give another."
    assert "not finite" in str(outcomes[2].error)
    for name in ("one", "two"):
        assert_same_predictions(found[name], expected[name])


def test_members_of_a_batch_that_needs_too_much_memory_are_predicted_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = [peptide(f"q{n}", 28) for n in range(3)]
    _, expected = predicted(asked, batched=False)
    real, tried = stages.infer_batch, []

    def limited(batch: Sequence[Features], *rest: object) -> object:
        tried.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return real(batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "infer_batch", limited)
    outcomes, found = predicted(asked)
    assert {each.status for each in outcomes} == {"done"}
    assert tried == [3, 1, 1, 1], "the batch is not tried again"
    for name, each in expected.items():
        atoms = found[name][0].structure.atom_positions
        np.testing.assert_array_equal(atoms, each[0].structure.atom_positions)


def test_a_resumed_batch_begins_with_the_first_query_that_is_not_finished(
    passed: list[int], tmp_path: Path
) -> None:
    asked = [peptide(f"q{n}", 28) for n in range(5)]
    folder = ResultsFolder(tmp_path)
    list(run_parallel(asked[:2], CPU, [folder], []))
    before = (tmp_path / "q0" / "ranked_0.pdb").read_bytes()
    outcomes = list(run_parallel(asked, CPU, [folder], []))
    assert [each.status for each in outcomes] == ["already done"] * 2 + ["done"] * 3
    assert (tmp_path / "q0" / "ranked_0.pdb").read_bytes() == before
    assert {each.status for each in run_parallel(asked, CPU, [folder], [])} == {"already done"}
    alone = runner.run(asked, CPU, [folder])
    assert {each.status for each in alone} == {"already done"}, "a batch does not change the key"
    assert passed == [2, 3]


def test_the_command_writes_the_files_of_single_runs(
    passed: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"p{n}" for n in range(5)]
    fasta = [f">{name}\n{ROWS[0][n : n + 26 - n % 3]}\n" for n, name in enumerate(names)]
    for name, records in {"all": fasta, **dict(zip(names, zip(fasta), strict=True))}.items():
        path = tmp_path / f"{name}.fasta"
        path.write_text("".join(records))
        out = tmp_path / ("all" if name == "all" else "alone")
        assert main(["fold", str(path), "-o", str(out), "--device", "cpu"]) == 0
    table = capsys.readouterr().out.splitlines()[1:6]
    assert [line.split()[:2] for line in table] == [[name, "done"] for name in names]
    assert passed == [5, 1, 1, 1, 1, 1]
    for name in names:
        ours, theirs = tmp_path / "all" / name, tmp_path / "alone" / name
        files = [sorted(each.name for each in folder.iterdir()) for folder in (ours, theirs)]
        assert files[0] == files[1]
        for path in (each for each in files[0] if each.endswith((".pdb", ".cif", ".json"))):
            if path == "fold.json":  # hashes
                continue
            texts = [(folder / path).read_text() for folder in (ours, theirs)]
            assert_same_text(*texts)


def assert_same_text(ours: str, theirs: str) -> None:
    """Check that two files differ in nothing but rounding and dates."""
    number = re.compile(r"-?\d+\.\d+|\d{4}-\d\d-\d\d(?:T[\d:+]+)?")
    assert number.sub("", ours).split() == number.sub("", theirs).split()
    pairs = zip(number.findall(ours), number.findall(theirs), strict=True)
    for one, other in pairs:
        if one != other and "-" not in one[1:]:
            assert abs(float(one) - float(other)) <= 0.02, (one, other)
