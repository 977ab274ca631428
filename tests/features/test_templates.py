"""Templates on the query, against the recorded official numbers and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foldry.align.pairwise import BLOSUM62
from foldry.errors import InputError
from foldry.features.templates import (
    align_template,
    profiles,
    template_features,
    template_features_of_atoms,
)
from foldry.formats.a3m import parse_a3m
from foldry.query import Chain, Hit, Query
from foldry.residues import CA, GAP, HHBLITS_ORDER, RESTYPE_ORDER, encode_sequence
from foldry.structure import Structure
from tests.features.conftest import Recorded

HHBLITS_TO_OURS = np.array([RESTYPE_ORDER.get(letter, GAP) for letter in HHBLITS_ORDER])
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
SCORES = BLOSUM62[encode_sequence(SEQUENCE)]


def structure(sequence: str, name: str = "made", chain: str = "A") -> Structure:
    """A chain of CA atoms on a line, 3.8 Å apart, and no other atom."""
    length = len(sequence)
    positions = np.zeros((length, 37, 3), np.float32)
    positions[:, CA, 0] = 3.8 * np.arange(length)
    mask = np.zeros((length, 37), bool)
    mask[:, CA] = True
    return Structure(
        name=name,
        aatype=encode_sequence(sequence),
        residue_number=np.arange(1, length + 1),
        insertion_code=np.full(length, ""),
        chain_id=np.full(length, chain),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=np.zeros((length, 37), np.float32),
    )


@pytest.mark.parity
def test_template_atoms_are_the_official_ones(recorded: Recorded) -> None:
    official = recorded("data/templates.npz")
    names = [key.split("/")[0] for key in official if key.endswith("/extract/mapping")]
    assert names
    for name in names:
        seqres = official[f"{name}/seqres"][0].decode()
        part, query = (
            bytes(official[f"{name}/extract/{key}"]).decode()
            for key in ("template_sequence", "query")
        )
        template = replace(
            structure(seqres),
            atom_positions=official[f"{name}/atom_positions"],
            atom_mask=official[f"{name}/atom_mask"].astype(bool),
        )
        pairs = official[f"{name}/extract/mapping"] + [0, seqres.index(part)]
        ours = template_features(query, [Hit(name, pairs, template)], 4)
        one_hot = official[f"{name}/extract/out_template_aatype"]
        np.testing.assert_array_equal(ours.aatype[0], HHBLITS_TO_OURS[one_hot.argmax(-1)])
        for kind, values in (("positions", ours.atom_positions), ("masks", ours.atom_mask)):
            theirs = official[f"{name}/extract/out_template_all_atom_{kind}"]
            np.testing.assert_array_equal(values[0], theirs)


@pytest.mark.parity
def test_features_of_template_atoms_are_the_official_ones(recorded: Recorded) -> None:
    official = recorded("data/tf_transforms_monomer.npz")
    codes = HHBLITS_TO_OURS[official["in_raw/template_aatype"].argmax(-1)]
    ours = template_features_of_atoms(
        codes,
        official["in_raw/template_all_atom_positions"],
        official["in_raw/template_all_atom_masks"],
    )
    for name, values in {
        "aatype": ours.aatype,
        "mask": ours.mask,
        "pseudo_beta": ours.pseudo_beta,
        "pseudo_beta_mask": ours.pseudo_beta_mask,
    }.items():
        np.testing.assert_array_equal(values, official[f"nonensembled/template_{name}"])


def test_first_templates_are_taken_in_order() -> None:
    hits = [align_template(SCORES, structure(SEQUENCE, name)) for name in ("one", "two")]
    assert [hit.name for hit in hits] == ["one_A", "two_A"]
    assert len(template_features(SEQUENCE, hits, 1).mask) == 1
    assert len(template_features(SEQUENCE, hits, 4).mask) == 2


def test_no_hits_are_no_templates() -> None:
    features = template_features(SEQUENCE, [], 4)
    assert features.torsion_sin_cos.shape == (0, len(SEQUENCE), 7, 2)


def test_a_template_is_aligned_by_sequence() -> None:
    query = "GGGGG" + SEQUENCE
    known = "HHHHHH" + SEQUENCE[:30] + SEQUENCE[35:]
    hit = align_template(BLOSUM62[encode_sequence(query)], structure(known))
    features = template_features(query, [hit], 4)
    expected = [GAP] * 5 + list(encode_sequence(SEQUENCE))
    expected[35:40] = [GAP] * 5
    assert features.aatype[0].tolist() == expected
    np.testing.assert_array_equal(features.atom_mask[0, :, CA], np.array(expected) != GAP)
    places = features.atom_positions[0, features.aatype[0] != GAP, CA, 0]
    np.testing.assert_allclose(places, 3.8 * np.arange(6, len(known)), rtol=1e-6)
    assert not features.atom_positions[0, 35:40].any()


def test_the_best_chain_of_a_template_is_used() -> None:
    first, second = structure(SEQUENCE[:20], chain="X"), structure(SEQUENCE, chain="B")
    both = Structure(
        "pair",
        *(
            np.concatenate([getattr(first, name), getattr(second, name)])
            for name in list(vars(first))[1:]
        ),
    )
    hit = align_template(SCORES, both)
    assert hit.name == "pair_B"
    np.testing.assert_array_equal(hit.pairs, np.arange(len(SEQUENCE))[:, None] * [1, 1])


def test_equal_chains_share_the_rows_of_their_profile() -> None:
    other = "WHDGYPCNWEFRKLMTIVAS"
    a3m = f">q\n{other}\n>r\nW-DAYPCNWDYRKIMSLLGA\n"
    alone = Chain(("A",), other)
    aligned = Chain(("B",), other, parse_a3m(a3m))
    single = profiles(Query("q", (alone, Chain(("C",), SEQUENCE))))
    for sequence in (other, SEQUENCE):
        np.testing.assert_allclose(single[sequence], BLOSUM62[encode_sequence(sequence)])
    paired = Chain(("D",), other, paired=parse_a3m(a3m))
    [expected] = profiles(Query("q", (aligned,))).values()
    assert abs(expected - single[other]).max() > 1
    for chains in ((alone, aligned), (aligned, alone), (alone, paired)):
        np.testing.assert_array_equal(profiles(Query("q", chains))[other], expected)


def test_an_unrelated_template_is_refused() -> None:
    with pytest.raises(InputError, match="fewer than 10 residues"):
        align_template(BLOSUM62[encode_sequence("W" * 30)], structure("A" * 30))


def torn() -> Structure:
    whole = structure(SEQUENCE)
    positions = whole.atom_positions.copy()
    positions[40:, CA, 1] = 151
    return replace(whole, atom_positions=positions)


@pytest.mark.parametrize(
    ("template", "pairs", "said"),
    [
        (structure(SEQUENCE), [[70, 0]], "use 0 to 69 in the query"),
        (structure(SEQUENCE), [[0, -1]], "does not exist"),
        (structure(SEQUENCE), [[i, i] for i in range(4)], "no coordinates"),
        (torn(), [[i, i] for i in range(20)], "residue 41"),
    ],
)
def test_a_bad_hit_is_refused(template: Structure, pairs: list[list[int]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        template_features(SEQUENCE, [Hit("bad", np.array(pairs), template)], 4)
