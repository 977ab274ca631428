"""Several templates: networks for several read all of them, and mini tries one after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import foldry
from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import read_structure
from foldry.predict import runner, stages
from foldry.predict.network import load_model
from foldry.predict.settings import Settings
from foldry.predict.stages import MAX_TRIED, with_templates
from foldry.query import Chain, Hit, Query
from foldry.results.folder import ResultsFolder, read_results
from foldry.structure import Structure
from foldry.weights.networks import NetworkFile, find_networks
from tests.predict.fake import EXAMPLE
from tests.predict.test_batches import network

KUNITZ = read_structure(EXAMPLE / "1adz.cif")
ROWS = parse_a3m((EXAMPLE / "1adz.a3m").read_text())
CPU = Settings(device="cpu")


def decoy(seed: int) -> Structure:
    """The example with the places of its residues exchanged: a wrong template."""
    order = np.random.default_rng(seed).permutation(len(KUNITZ))
    shuffled = replace(KUNITZ, name=f"decoy{seed}", atom_positions=KUNITZ.atom_positions[order])
    return replace(shuffled, atom_mask=KUNITZ.atom_mask & KUNITZ.atom_mask[order])


def with_known(structures: Sequence[Structure], name: str = "q") -> Query:
    return with_templates(Query(name, (Chain(("A",), KUNITZ.sequence, ROWS),)), structures)


DECOYS = [decoy(seed) for seed in range(MAX_TRIED)]


@pytest.mark.parametrize("place", range(MAX_TRIED))
def test_mini_keeps_the_best_of_its_templates(place: int) -> None:
    given = [*DECOYS[:place], KUNITZ, *DECOYS[place + 1 :]]
    alone = [foldry.fold(with_known([each]), device="cpu")[0] for each in given]
    best = max(alone, key=lambda made: made.mean_plddt)
    assert best is alone[place], "the true structure fits best"
    [found] = foldry.fold(with_known(given), device="cpu")
    np.testing.assert_array_equal(found.structure.atom_positions, best.structure.atom_positions)
    np.testing.assert_array_equal(found.plddt, best.plddt)
    assert found.provenance.templates_read == {"A": ["1adz_A"]}
    assert len(found.query.chains[0].templates) == MAX_TRIED


def test_mini_does_not_read_templates_after_the_first_four() -> None:
    [found] = foldry.fold(with_known([*DECOYS, KUNITZ]), device="cpu")
    [expected] = foldry.fold(with_known(DECOYS), device="cpu")
    assert found.provenance.templates_read == expected.provenance.templates_read
    np.testing.assert_array_equal(found.plddt, expected.plddt)


@pytest.mark.parametrize("place", [0, 1])
def test_a_template_that_cannot_be_used_is_left_out(
    place: int, caplog: pytest.LogCaptureFixture
) -> None:
    query = with_known([KUNITZ])
    [chain] = query.chains
    [good] = chain.templates
    empty = replace(KUNITZ, atom_mask=np.zeros_like(KUNITZ.atom_mask))
    hits = [good, good]
    hits[place] = replace(good, name="bad_A", structure=empty)
    both = replace(query, chains=(replace(chain, templates=tuple(hits)),))
    [found] = foldry.fold(both, device="cpu")
    assert f"Template {place + 1} of q is not used: The template 'bad_A' has no" in caplog.text
    [expected] = foldry.fold(query, device="cpu")
    np.testing.assert_array_equal(found.plddt, expected.plddt)
    hits = [hits[place]] * 2
    none = replace(query, chains=(replace(chain, templates=tuple(hits)),))
    with pytest.raises(InputError, match="The template 'bad_A' has no coordinates"):
        foldry.fold(none, device="cpu")


@pytest.mark.parametrize("name", ["model_1_ptm", "model_1_multimer_v3"])
def test_an_official_network_reads_four_templates_together(name: str) -> None:
    model, settings = network(name), replace(CPU, num_recycles=0, max_msa=(8, 12))
    query = with_known(DECOYS)
    read, raw = stages.infer_best(query, model, 0, settings, lambda *_: None)
    assert read is query
    [chain] = query.chains
    for left_out in range(4):
        hits = [hit for number, hit in enumerate(chain.templates) if number != left_out]
        fewer = replace(query, chains=(replace(chain, templates=hits),))
        _, other = stages.infer_best(fewer, model, 0, settings, lambda *_: None)
        assert np.abs(other.plddt - raw.plddt).max() > 1e-4, left_out
    none = network("model_1_ptm").config  # the configuration of networks without templates
    none = replace(none, features=replace(none.features, num_templates=0))
    assert stages.tried_queries(query, none) == [query]


def test_a_network_for_one_template_tries_those_of_all_chains_of_a_complex_together() -> None:
    hits = [Hit(f"{n}abc_A", np.array([[0, 0]]), KUNITZ) for n in range(3)]
    one = Chain(("A",), KUNITZ.sequence, templates=tuple(hits))
    other = Chain(("B",), KUNITZ.sequence, templates=tuple(hits[:1]))
    config = network("model_1_multimer_v3").config
    config = replace(config, features=replace(config.features, num_templates=1))
    tried = stages.tried_queries(Query("q", (one, other)), config)
    assert [[list(chain.templates) for chain in each.chains] for each in tried] == [
        [hits[:1], hits[:1]],
        [hits[1:2], []],
        [hits[2:], []],
    ]


def test_the_key_changes_only_where_several_templates_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [mini] = find_networks("mini")
    (tmp_path / "params_model_1_ptm.npz").touch()
    official = NetworkFile("model_1_ptm", tmp_path / "params_model_1_ptm.npz")
    configs = {each.name: network(each.name).config for each in (mini, official)}
    monkeypatch.setattr(stages, "config_of", lambda network: configs[network.name])

    def keys() -> list[str]:
        return [
            stages.features_key(with_known(DECOYS[:number]), each, 0, CPU)
            for each in (official, mini)
            for number in (0, 1, 4)
        ]

    before = keys()
    monkeypatch.setattr(stages, "MAX_TRIED", 1)
    assert [one == other for one, other in zip(before, keys(), strict=True)] == [True] * 5 + [False]


def test_the_progress_counts_the_passes_of_all_templates(tmp_path: Path) -> None:
    shown: list[str] = []
    settings = replace(CPU, num_recycles=1)
    publishers = [ResultsFolder(tmp_path)]
    query = with_known([KUNITZ, *DECOYS[:2]])
    [outcome] = runner.run([query], settings, publishers, lambda what, *_: shown.append(what))
    assert outcome.status == "done"
    passes = [what.rpartition(", ")[2] for what in shown if "pass" in what]
    assert passes == [f"pass {number} of 6" for number in range(1, 7)]


def test_a_resumed_run_names_the_template_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, settings = with_known([DECOYS[0], KUNITZ]), replace(CPU, seeds=(0, 1))
    real, computed = runner.predict_one, list[int]()

    def interrupted(*arguments: object) -> object:
        if len(computed) == 1:
            raise KeyboardInterrupt
        computed.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(runner, "predict_one", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(runner.run([query], settings, [ResultsFolder(tmp_path)]))
    assert len(computed) == 1
    list(runner.run([query], settings, [ResultsFolder(tmp_path)]))
    stored = read_results(tmp_path / "q")
    assert [each.provenance and each.provenance.templates_read for each in stored] == [
        {"A": ["1adz_A"]}
    ] * 2
    for each in stored:
        assert re.search(r"templates_read\.A\s+1adz_A\s", each.structure.read_text())
    assert '"templates_read":{"A":["1adz_A"]}' in (tmp_path / "q" / "report.html").read_text()


def test_a_network_without_templates_reads_none() -> None:
    [mini] = find_networks("mini")
    model = load_model(mini, CPU)
    query = with_known([])
    made = runner.predict_one(query, model, mini, 0, CPU)
    assert made.provenance.templates_read == {}


def test_mini_does_not_follow_what_a_search_found_by_chance() -> None:
    [alone] = foldry.fold(with_known([KUNITZ]), device="cpu")
    query = with_known([*DECOYS[:2], KUNITZ])
    [chain] = query.chains

    def searched(hit: Hit, e_value: float) -> Hit:
        return replace(hit, e_value=e_value, how="same chain")

    def asked(*hits: Hit) -> Query:
        return replace(query, chains=(replace(chain, templates=hits),))

    def key(*hits: Hit) -> str:
        [mini] = find_networks("mini")
        return stages.features_key(asked(*hits), mini, 0, CPU)

    by_name = {hit.name: hit for hit in chain.templates}
    true, decoys = by_name["1adz_A"], [by_name[f"decoy{n}_A"] for n in range(2)]
    chance = [searched(each, 0.01) for each in decoys]
    mixed = chance[0], searched(true, 1e-9), chance[1]
    [found] = foldry.fold(asked(*mixed), device="cpu")
    np.testing.assert_array_equal(found.plddt, alone.plddt)
    assert found.provenance.templates_read == {"A": ["1adz_A"]}
    assert len(found.query.chains[0].templates) == 3
    [none] = foldry.fold(asked(*chance), device="cpu")
    assert none.provenance.templates_read == {}
    assert key(*mixed) == key(true)
    assert len({key(*chance), key(*decoys), key(*mixed), key()}) == 3
