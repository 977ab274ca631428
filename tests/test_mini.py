"""The bundled small model: the file matches its card, and the network has learnt something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import foldry
from foldry.formats.coordinates import read_structure
from foldry.model.alphafold import AlphaFold
from foldry.model.config import preset
from foldry.residues import CA
from foldry.score.compare import compare, compare_ca
from foldry.store.hashes import file_sha256
from foldry.weights.bundled import MINI as WEIGHTS
from foldry.weights.bundled import MINI_NOTICE, excluded_chains
from foldry.weights.networks import OWN_NOTICE
from foldry.weights.state_file import load, save
from tests.conftest import ROOT

CARD = WEIGHTS.with_suffix(".md").read_text("utf-8")
EXAMPLES = ROOT / "examples"
KUNITZ = EXAMPLES / "kunitz"


def test_the_file_is_small_and_is_the_preset() -> None:
    assert WEIGHTS.stat().st_size <= 12 * 2**20
    _, config, notes = load(WEIGHTS)
    assert config == preset("mini")
    assert notes["licence"] == "CC BY 4.0"
    assert file_sha256(WEIGHTS) in CARD
    assert notes["samples"] in CARD.replace(",", "")


def test_the_card_lists_what_was_left_out() -> None:
    for name in excluded_chains():
        assert name in CARD


def test_it_predicts_better_than_untrained_and_says_what_it_is(tmp_path: Path) -> None:
    config = preset("mini")
    torch.manual_seed(0)
    save(tmp_path / "untrained.safetensors", AlphaFold(config).state_dict(), config)
    truth = read_structure(KUNITZ / "1adz.cif")
    scores = {}
    notices = {"mini": MINI_NOTICE, str(tmp_path / "untrained.safetensors"): OWN_NOTICE}
    for weights, notice in notices.items():
        out = tmp_path / "out" / Path(weights).stem
        [made] = foldry.fold(KUNITZ / "1adz.a3m", weights, out=out, device="cpu")
        scores[weights] = compare(made.structure, truth, align=True).lddt_ca
        assert made.provenance.notice == notice
    best, untrained = scores.values()
    # Random distances and the order of the chain alone give about 0.3.
    assert best > untrained + 0.1
    for name in ("ranked_0.cif", "ranked_0.pdb", "report.html", "scores_mini_pred_0.json"):
        text = (
            (tmp_path / "out" / "mini" / "1adz" / name).read_text("utf-8").replace("REMARK 999", "")
        )
        text = " ".join(text.split())
        assert "the small model that ships with Foldry" in text, name
        assert "far less accurate than AlphaFold" in text, name


def test_a_template_file_changes_the_prediction() -> None:
    kunitz, template = KUNITZ / "1adz.a3m", KUNITZ / "1adz.cif"
    [without] = foldry.fold(kunitz, device="cpu")
    [made] = foldry.fold(kunitz, device="cpu", templates=[template])
    truth = read_structure(template)
    ours, plain = (compare(each.structure, truth, align=True).lddt_ca for each in (made, without))
    assert plain < 0.5
    assert ours > 0.8


@pytest.mark.parametrize(
    ("example", "least"),
    [("kunitz/1adz", 0.7), pytest.param("trypsin/1trn", 0.85, marks=pytest.mark.slow)],
)
def test_an_example_from_its_bare_sequence_is_better_than_a_copy_of_its_template(
    example: str, least: float
) -> None:
    query = foldry.search_query(EXAMPLES / f"{example}.fasta", EXAMPLES / "database")
    [made] = foldry.fold(query, device="cpu")
    truth = read_structure(EXAMPLES / f"{example}.cif")
    assert made.provenance.templates_read is not None
    [[name]] = made.provenance.templates_read.values()
    hit = next(each for each in query.chains[0].templates if each.name == name)
    here, there = hit.pairs.T
    positions = np.zeros((len(truth), 3))
    known = np.zeros(len(truth), bool)
    positions[here] = hit.known_structure().atom_positions[there, CA]
    known[here] = hit.known_structure().atom_mask[there, CA] > 0
    copy = compare_ca(positions, truth.atom_positions[:, CA], known)
    ours = compare_ca(made.structure.atom_positions[:, CA], truth.atom_positions[:, CA])
    assert copy.num_matched == known.sum() > 0.8 * len(truth)
    assert ours.tm_score > max(least, copy.tm_score)
    assert ours.gdt_ts >= copy.gdt_ts


@pytest.mark.parametrize("sequence", ["M", "MK", "MXK"])
def test_the_shortest_queries_are_folded(tmp_path: Path, sequence: str) -> None:
    fasta = tmp_path / "short.fasta"
    fasta.write_text(f">short\n{sequence}\n")
    [made] = foldry.fold(fasta, device="cpu", out=tmp_path)
    assert len(made.plddt) == len(sequence)
    assert (tmp_path / "short" / "report.html").is_file()
