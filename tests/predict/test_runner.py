"""Running queries: resuming, forcing, failing without stopping, and the same numbers twice."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import foldry
from foldry.cli.main import main
from foldry.errors import InputError
from foldry.features.msa import draw_msa
from foldry.features.pipeline import make_features
from foldry.formats.afdb import pae_json
from foldry.formats.coordinates import read_structure
from foldry.model.alphafold import AlphaFold
from foldry.model.config import preset
from foldry.model.inputs import MSAInputs, stack_draws, stack_features
from foldry.predict import runner, stages
from foldry.predict.network import load_model
from foldry.predict.recycle import distance_change, recycle
from foldry.predict.runner import fold
from foldry.predict.settings import Settings, read_models, read_seeds
from foldry.query import MAX_SEED, Alignment, Chain, Query
from foldry.results.folder import ResultsFolder, read_results
from foldry.results.render import pdb_text
from foldry.store.locks import hold
from foldry.weights.networks import NetworkFile, find_networks
from foldry.weights.state_file import save
from tests.predict.fake import EXAMPLE, run

SEQUENCE = "MKVLAAGIVGLCAKYWE"


def query(name: str, sequence: str = SEQUENCE) -> Query:
    other = sequence.replace("A", "G")
    rows = Alignment.of([name, "other"], [sequence, other])
    return Query(name, (Chain(("A",), sequence, rows),))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network like mini with random parameters, none of them zero."""
    config = replace(preset("mini"), num_recycles=1)
    config = replace(config, evoformer=replace(config.evoformer, num_blocks=1))
    torch.manual_seed(0)
    model = AlphaFold(config)
    state = {
        name: tensor + 0.02 * torch.randn_like(tensor)
        for name, tensor in model.state_dict().items()
    }
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, state, config)
    return str(path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the queries that are actually computed."""
    computed: list[str] = []
    real = runner.predict_one

    def counted(asked: Query, *arguments: object) -> object:
        if "bad" in asked.name:
            raise torch.OutOfMemoryError
        computed.append(asked.name)
        return real(asked, *arguments)

    monkeypatch.setattr(runner, "predict_one", counted)
    return computed


def test_finished_queries_are_not_computed_again(
    weights: str, calls: list[str], tmp_path: Path
) -> None:
    settings = Settings(weights=weights, device="cpu", seeds=(0, 1))
    [first] = run([query("q")], tmp_path, settings)
    assert (first.status, calls) == ("done", ["q", "q"])
    assert (tmp_path / "q" / "ranked_1.cif").is_file()
    before = (tmp_path / "q" / "ranked_0.pdb").read_bytes()

    [again] = run([query("q")], tmp_path, settings)
    assert (again.status, len(calls)) == ("already done", 2)
    [forced] = run([query("q")], tmp_path, replace(settings, force=True))
    assert (forced.status, len(calls)) == ("done", 4)
    assert (tmp_path / "q" / "ranked_0.pdb").read_bytes() == before

    [fewer] = run([query("q")], tmp_path, replace(settings, seeds=(1, 1)))
    assert (fewer.status, len(calls)) == ("done", 5)
    assert not (tmp_path / "q" / "ranked_1.cif").exists()
    assert run([query("q")], tmp_path, settings)[0].status == "done"
    del calls[4:]

    (tmp_path / "q" / "report.html").unlink()
    assert run([query("q")], tmp_path, settings)[0].status == "done"
    changed = replace(settings, num_recycles=0)
    assert run([query("q")], tmp_path, changed)[0].status == "done"
    other = query("q", SEQUENCE.replace("W", "F"))
    assert run([other], tmp_path, settings)[0].status == "done"
    assert len(calls) == 10


def test_an_interrupted_run_resumes_where_it_stopped(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    real = runner.predict_one

    def interrupted(
        asked: Query, model: object, network: object, seed: int, *rest: object
    ) -> object:
        if seed == 2 and len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(seed)
        return real(asked, model, network, seed, *rest)

    monkeypatch.setattr(runner, "predict_one", interrupted)
    settings = Settings(weights=weights, device="cpu", seeds=(0, 1, 2))
    with pytest.raises(KeyboardInterrupt):
        run([query("q")], tmp_path, settings)
    assert not (tmp_path / "q" / "ranked_0.cif").exists()
    computed.append(-1)
    [outcome] = run([query("q")], tmp_path, settings)
    assert computed == [0, 1, -1, 2]
    assert not (tmp_path / "q" / ".unranked").exists()
    monkeypatch.undo()
    fresh = fold(query("q"), weights, device="cpu", seeds=(0, 1, 2))
    assert outcome.mean_plddt == fresh[0].plddt.mean()
    for rank, theirs in enumerate(fresh):
        files = tmp_path / "q"
        name = theirs.name
        assert theirs.pae is not None and theirs.max_pae is not None
        assert (files / f"ranked_{rank}.pdb").read_text() == pdb_text(theirs)
        assert (files / f"pae_{name}.json").read_text() == pae_json(theirs.pae, theirs.max_pae)


def test_several_networks_are_read_once_for_all_queries(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = [NetworkFile(name, Path(weights)) for name in ("one", "two")]
    read: list[str] = []
    real = NetworkFile.read

    def counted(network: NetworkFile) -> object:
        read.append(network.name)
        return real(network)

    monkeypatch.setattr(runner, "networks_for", lambda *_: networks)
    monkeypatch.setattr(NetworkFile, "read", counted)
    for number in range(2):  # as a screen does, one by one
        settings = Settings(weights=weights, device="cpu", num_recycles=0, seeds=(number,))
        [outcome] = run([query(f"q{number}")], tmp_path, settings)
        assert outcome.status == "done"
    assert read == ["one", "two"]


def test_a_failing_query_does_not_stop_the_batch(
    weights: str, calls: list[str], tmp_path: Path
) -> None:
    settings = Settings(weights=weights, device="cpu")
    outcomes = run([query("one"), query("bad"), query("two")], tmp_path, settings)
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "do not fit into memory" in str(outcomes[1].error)
    assert calls == ["one", "two"]
    assert not list(tmp_path.glob("bad/*"))


def test_the_command_says_which_query_failed(
    weights: str, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fasta = tmp_path / "q.fasta"
    fasta.write_text(f">good\n{SEQUENCE}\n>bad\n{SEQUENCE}\n")
    code = main(["fold", str(fasta), "-o", str(tmp_path / "out"), "--weights", weights])
    out = capsys.readouterr().out
    assert code == 1
    assert "good" in out and "done" in out and "failed" in out and "memory" in out


def test_the_same_seed_gives_the_same_numbers(weights: str) -> None:
    first = foldry.fold(query("q"), weights, device="cpu", seeds=(3,))
    second = foldry.fold(query("q"), weights, device="cpu", seeds=(3,))
    assert first[0].single is None and first[0].pair is None, "nobody asked for them"
    np.testing.assert_array_equal(first[0].plddt, second[0].plddt)
    np.testing.assert_array_equal(
        first[0].structure.atom_positions, second[0].structure.atom_positions
    )
    sampled = foldry.fold(query("q"), weights, device="cpu", seeds=(3,), dropout=True)
    assert np.abs(sampled[0].plddt - first[0].plddt).max() > 0


def test_settings_change_the_network_and_are_recorded(weights: str, tmp_path: Path) -> None:
    [made] = fold(
        query("q"),
        weights,
        out=tmp_path,
        device="cpu",
        num_recycles=2,
        max_msa=(1, 0),
        num_ensemble=2,
        save_representations=True,
    )
    assert made.provenance.num_recycles == 2
    assert made.provenance.settings["max_msa"] == (1, 0)
    assert made.single is not None and made.single.shape == (len(SEQUENCE), 128)
    assert made.pair is not None and made.pair.shape == (len(SEQUENCE), len(SEQUENCE), 64)
    scores = json.loads(next((tmp_path / "q").glob("scores_*.json")).read_text())
    assert scores["ranking_confidence"] == pytest.approx(made.plddt.mean(), abs=0.01)


def test_the_progress_names_every_pass(weights: str, tmp_path: Path) -> None:
    shown: list[str] = []
    settings = Settings(weights=weights, device="cpu", num_recycles=2, recycle_tolerance=0.0)
    folder = ResultsFolder(tmp_path)
    list(runner.run([query("q")], settings, [folder], lambda what, *_: shown.append(what)))
    passes = [what.rpartition(", ")[2] for what in shown if "pass" in what]
    assert passes == ["pass 1 of 3", "pass 2 of 3", "pass 3 of 3"]


def test_recycling_stops_when_nothing_changes(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [network] = find_networks(weights)
    model = load_model(network, Settings(weights=weights, device="cpu"))
    features = make_features(query("q"), model.config.features, 0)
    inputs = stack_features([features])
    asked: list[int] = []

    def draw(cycle: int) -> Sequence[MSAInputs]:
        asked.append(cycle)
        return [stack_draws([draw_msa(features, 0)])]

    with torch.inference_mode():
        [((result, num_recycles), _)] = recycle(model, inputs, draw, 10, tolerance=1e6)
        assert (num_recycles, asked) == (1, [0, 1])
        [((last, _), _)] = recycle(model, inputs, draw, 1)
        assert distance_change(result.atom37, last.atom37, inputs.seq_mask) < 1e-3
        [((_, num_recycles), _)] = recycle(model, inputs, draw, 2, tolerance=-1)
        assert num_recycles == 2
        monkeypatch.setattr(
            "foldry.predict.recycle.distance_change", lambda *_: torch.tensor([0.5])
        )
        for tolerance, expected in ((0.5, 1), (0.499, 3)):
            [((_, num_recycles), _)] = recycle(model, inputs, draw, 3, tolerance)
            assert num_recycles == expected


def test_one_copy_of_a_network_serves_all_settings(weights: str) -> None:
    [network] = find_networks(weights)
    plain = Settings(weights=weights, device="cpu", num_recycles=0)
    others = (replace(plain, num_recycles=2), replace(plain, max_msa=(1, 0), dropout=True))
    model = load_model(network, plain)
    assert all(load_model(network, each) is model for each in others)
    before = runner.predict_one(query("q"), model, network, 0, plain)
    sampled = runner.predict_one(query("q"), model, network, 0, others[1])
    again = runner.predict_one(query("q"), model, network, 0, plain)
    assert sampled.provenance.config["features"]["num_msa"] == 1
    assert not np.array_equal(sampled.plddt, before.plddt)
    np.testing.assert_array_equal(again.structure.atom_positions, before.structure.atom_positions)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    for weights, models, message in (
        (str(tmp_path / "none"), None, "is not a file or folder"),
        (str(tmp_path), None, "holds no parameters"),
        ("mini", ("1",), "mini has no model 1"),
    ):
        with pytest.raises(InputError, match=message):
            find_networks(weights, models)
    (tmp_path / "params_model_3_ptm.npz").touch()
    (tmp_path / "params_model_1.npz").touch()
    assert [network.name for network in find_networks(str(tmp_path))] == ["model_3_ptm"]
    chosen = find_networks(str(tmp_path), ("3", "1", "model_3_ptm"))
    assert [network.name for network in chosen] == ["model_3_ptm", "model_1", "model_3_ptm"]
    with pytest.raises(InputError, match="has no model_2_ptm: choose from model_1, model_3_ptm"):
        find_networks(str(tmp_path), ("2",))


def test_complexes_use_multimer_networks(tmp_path: Path) -> None:
    def names(*models: str, of_complexes: bool) -> list[str]:
        found = find_networks(str(tmp_path), models or None, of_complexes=of_complexes)
        return [network.name for network in found]

    (tmp_path / "params_model_1_multimer.npz").touch()
    assert names(of_complexes=False) == ["model_1_multimer"]  # nothing else is there
    for name in ("model_1_multimer_v3", "model_2_multimer_v3", "model_3_multimer_v2"):
        (tmp_path / f"params_{name}.npz").touch()
    assert names(of_complexes=False) == ["model_1_multimer_v3", "model_2_multimer_v3"]
    assert names("2", "3", of_complexes=False) == ["model_2_multimer_v3", "model_3_multimer_v2"]
    (tmp_path / "params_model_4.npz").touch()
    assert names(of_complexes=True) == ["model_1_multimer_v3", "model_2_multimer_v3"]
    assert names("1", "3", of_complexes=True) == ["model_1_multimer_v3", "model_3_multimer_v2"]
    assert names(of_complexes=False) == names("4", of_complexes=False) == ["model_4"]
    with pytest.raises(InputError, match="has no model_4_multimer_v3: choose from"):
        names("4", of_complexes=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_recycles": -1},
        {"num_ensemble": 0},
        {"recycle_tolerance": float("nan")},
        {"recycle_tolerance": float("inf")},
        {"relax_seconds": float("inf")},
        {"max_msa": (float("inf"), 5)},
        {"max_msa": (0, 5)},
        {"max_msa": (5, -1)},
        {"seeds": 3.0},
        {"device": "abacus"},
        {"dtype": "int4"},
    ],
)
def test_invalid_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        fold(query("q"), **wrong)  # type: ignore[arg-type]


def test_a_changed_file_has_another_hash(weights: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(Path(weights).read_bytes())
    [network] = find_networks(str(path))
    before = network.sha256()
    assert network.sha256() == before
    path.write_bytes(path.read_bytes() + b" ")
    assert network.sha256() != before


def test_a_place_that_cannot_be_written_is_named(weights: str, tmp_path: Path) -> None:
    (tmp_path / "q").write_text("in the way")
    [outcome] = run([query("q")], tmp_path, Settings(weights=weights, device="cpu"))
    assert outcome.status == "failed"
    assert str(outcome.error).startswith(f"{tmp_path / 'q'}")
    assert "is a file: name a folder" in str(outcome.error)


def test_several_publishers_get_every_query(weights: str, calls: list[str], tmp_path: Path) -> None:
    settings = Settings(weights=weights, device="cpu")
    one, two = (ResultsFolder(tmp_path / name, keep_work=True) for name in ("one", "two"))
    [outcome] = runner.run([query("q")], settings, [one, two])
    assert (outcome.status, calls) == ("done", ["q"])
    for name in ("ranked_0.pdb", "ranking_debug.json"):
        assert (one.out / "q" / name).read_bytes() == (two.out / "q" / name).read_bytes()
    assert len(list((one.out / "q" / ".unranked").iterdir())) == 1

    with hold(one.out / "q"):
        [outcome] = runner.run([query("q")], replace(settings, seeds=(1,)), [one, two])
    assert outcome.status == "busy"
    [other] = read_results(two.out / "q")
    assert other.name.endswith("_pred_1"), "the other publisher still got it"


def test_comparing_the_output_of_a_network_changes_nothing(weights: str) -> None:
    [network] = find_networks(weights)
    settings = Settings(weights=weights, device="cpu", num_recycles=0)
    model = load_model(network, settings)
    features = stages.featurise(query("q"), model.config, 0, settings)
    raw, again = (stages.infer(features, model, settings, lambda *_: None) for _ in range(2))
    assert raw == again
    made = stages.provenance(query("q"), network, model, 0, raw, settings)
    assert stages.assemble(query("q"), raw, made).plddt is raw.plddt


def test_networks_are_named_by_numbers_ranges_and_names() -> None:
    assert read_models("all") is None
    assert read_models(1) == read_models([1]) == ("1",)
    assert read_models("1,3-5,model_1_ptm,3") == ("1", "3", "4", "5", "model_1_ptm")
    for wrong in ("", "0", "6", "3-1", "1-6", "1,,2", "a b"):
        with pytest.raises(ValueError):
            read_models(wrong)


def test_seeds_reach_to_the_largest() -> None:
    assert read_seeds(f"{MAX_SEED}") == (MAX_SEED,)
    assert read_seeds("7,1-3") == (7, 1, 2, 3)
    assert read_seeds(7) == read_seeds([7]) == (7,)
    with pytest.raises(ValueError, match=f"from 0 to {MAX_SEED}"):
        read_seeds(f"{MAX_SEED + 1}")


@pytest.mark.parametrize(
    "wrong",
    [{"num_recycles": 1.5}, {"seeds": True}, {"models": 1.0}, {"weights": 3}, {"weights": None}],
)
def test_a_setting_of_another_type_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_fold_names_all_settings() -> None:
    given = inspect.signature(fold).parameters
    for each in fields(Settings):
        assert given[each.name].default == each.default, each.name
    assert next(iter(given)) == "query" and "settings" not in given


def test_templates_are_aligned_to_similar_chains() -> None:
    structure = read_structure(EXAMPLE / "1adz.cif")
    chains = (Chain(("A",), structure.sequence), Chain(("B",), "GGSGGSGGS"))
    found = stages.with_templates(Query("q", chains), [structure]).chains
    assert [len(chain.templates) for chain in found] == [1, 0]
    pairs = found[0].templates[0].pairs
    assert pairs.tolist() == [[number, number] for number in range(len(structure))]


def test_dropout_depends_on_the_seed_alone(weights: str) -> None:
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        [best] = fold(query("a"), weights=weights, dropout=True, device="cpu")
        found.append(best.structure.atom_positions)
        assert torch.initial_seed() == state
    np.testing.assert_array_equal(*found)


def test_a_network_that_returns_one_nan_is_refused(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = stages.confidence

    def broken(*arguments: object) -> object:
        sure = true(*arguments)  # type: ignore[arg-type]
        return replace(sure, plddt=np.where(np.arange(len(sure.plddt)) == 3, np.nan, sure.plddt))

    monkeypatch.setattr(stages, "confidence", broken)
    with pytest.raises(ArithmeticError, match="not finite"):
        fold(query("a"), weights=weights, device="cpu")


def test_fold_replaces_finished_results(weights: str, tmp_path: Path) -> None:
    fold(query("a"), weights=weights, device="cpu", out=tmp_path)
    [ranking] = tmp_path.rglob("ranking_debug.json")
    before = ranking.read_text()
    os.utime(ranking, (0, 0))
    fold(query("a"), weights=weights, device="cpu", out=tmp_path)
    assert ranking.stat().st_mtime > 0, "it is the same file"
    assert ranking.read_text() == before


def test_each_protein_of_a_batch_changes_by_itself() -> None:
    still = torch.randn(2, 5, 37, 3)
    moved = still.clone()
    moved[1] *= 2
    mask = torch.ones(2, 5)
    [alone] = distance_change(still[1:], moved[1:], mask[1:]).tolist()
    assert alone > 1
    assert distance_change(still, moved, mask).tolist() == pytest.approx([1e-4, alone])


def test_a_template_that_aligns_by_chance_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    structure = read_structure(EXAMPLE / "1adz.cif")
    similar = str.maketrans("KREDIVLMFYSTNQ", "RKDEVIMLYFTSDE")
    letters = [
        letter.translate(similar) if n % 3 else letter
        for n, letter in enumerate(structure.sequence)
    ]
    shuffled = np.random.default_rng(0).permutation(letters)
    caplog.set_level(logging.INFO, "foldry")
    for rows in (letters, letters[30:50], shuffled):
        chain = Chain(("A",), "".join(rows))
        stages.with_templates(Query("q", (chain,)), [structure])
    whole, part, chance = caplog.messages
    assert whole.startswith("Template 1adz_A for chain A of q: 33 of 63 aligned residues")
    assert part.startswith("Template 1adz_A for chain A of q: 10 of 20 aligned residues")
    assert chance.startswith("Template 1adz_A may be unrelated to chain A of q: ")
