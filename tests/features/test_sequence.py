"""Sequence features, against the recorded official numbers."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.features.sequence import sequence_features
from foldry.formats.sequence import clean_sequence
from foldry.query import Chain, Query
from tests.features.conftest import Recorded


@pytest.mark.parity
def test_codes_and_indices_are_the_official_ones(recorded: Recorded) -> None:
    official = recorded("data/pipeline_features.npz")
    sequence = clean_sequence(bytes(official["in_sequence"]).decode(), "the record")
    ours = sequence_features(Query("q", (Chain(("A",), sequence),)))
    np.testing.assert_array_equal(ours.aatype, official["seq/aatype"].argmax(-1))
    np.testing.assert_array_equal(ours.residue_index, official["seq/residue_index"])
    np.testing.assert_array_equal(ours.target_feat[:, 1:], official["seq/aatype"])
    assert not ours.target_feat[:, 0].any()
    assert ours.seq_mask.tolist() == [1] * len(sequence)


@pytest.mark.parity
def test_target_feat_is_the_official_one(recorded: Recorded) -> None:
    official = recorded("data/tf_transforms_monomer.npz")
    sequence = "".join("ARNDCQEGHILKMFPSTWYVX"[code] for code in official["nonensembled/aatype"])
    ours = sequence_features(Query("q", (Chain(("A",), sequence),)))
    np.testing.assert_array_equal(ours.target_feat, official["feat/target_feat"])


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["hetero", "homo"])
def test_chain_numbers_are_the_official_ones(recorded: Recorded, kind: str) -> None:
    official = recorded(f"data/multimer_pairing_{kind}.npz")
    names = sorted({name.split("/")[1] for name in official if name.startswith("assembly/")})
    letters = "ARNDCQEGHILKMFPSTWYVX"
    chains = tuple(
        Chain(
            (name.replace("_", ""),),
            "".join(letters[code] for code in official[f"in_chain/{name[0]}/aatype"]),
        )
        for name in names
    )
    ours = sequence_features(Query("q", chains))
    for key in ("asym_id", "entity_id", "sym_id"):
        theirs = np.concatenate([official[f"assembly/{name}/{key}"] for name in names])
        np.testing.assert_array_equal(getattr(ours, key), theirs)


def test_copies_of_a_chain_are_one_entity() -> None:
    ours = sequence_features(Query("q", (Chain(("A", "B"), "AC"), Chain(("C",), "D"))))
    assert ours.asym_id.tolist() == [1, 1, 2, 2, 3]
    assert ours.entity_id.tolist() == [1, 1, 1, 1, 2]
    assert ours.sym_id.tolist() == [1, 1, 2, 2, 1]
    assert ours.residue_index.tolist() == [0, 1, 0, 1, 0]
