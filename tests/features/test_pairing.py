"""Several chains: pairing by species, blocks of unpaired rows, templates side by side.

`multimer_pairing_*.npz` holds what the official multimer pipeline made of two chains.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from foldry.features.features import FeatureConfig
from foldry.features.pairing import (
    align_complex,
)
from foldry.features.pipeline import make_features
from foldry.query import Alignment, Chain, Query, TemplateHit
from foldry.residues import (
    ATOM37_MASK,
    GAP,
    HHBLITS_ORDER,
    RESTYPES_WITH_X,
)
from foldry.structure import Structure
from tests.features.conftest import Recorded

CONFIG = FeatureConfig(num_msa=4, num_extra_msa=4, num_templates=4, pad_templates=True)
LETTERS = RESTYPES_WITH_X + "-"


def recorded_alignment(chain: Mapping[str, np.ndarray], suffix: str) -> Alignment:
    species = chain[f"msa_species_identifiers{suffix}"].astype(str)
    return Alignment(
        headers=tuple(f"tr|A0A146SKV9|A0A146SKV9_{name}/1-9" if name else "q" for name in species),
        sequences=tuple(
            "".join(HHBLITS_ORDER[code] for code in row) for row in chain[f"msa{suffix}"]
        ),
        deletions=chain[f"deletion_matrix_int{suffix}"],
    )


def recorded_templates(chain: Mapping[str, np.ndarray]) -> tuple[TemplateHit, ...]:
    hits = []
    for aatype, positions, mask in zip(
        *(chain[f"template_{name}"] for name in ("aatype", "all_atom_positions", "all_atom_mask")),
        strict=True,
    ):
        there = np.flatnonzero(aatype != GAP)
        count = len(there)
        structure = Structure(
            name="t",
            aatype=aatype[there],
            residue_number=np.arange(count),
            insertion_code=np.full(count, ""),
            chain_id=np.full(count, "A"),
            atom_positions=positions[there],
            atom_mask=mask[there] > 0,
            b_factor=np.zeros((count, 37)),
        )
        hits.append(TemplateHit("t_A", structure, np.stack([there, np.arange(count)], axis=1)))
    return tuple(hits)


def recorded_query(record: Mapping[str, np.ndarray]) -> Query:
    chains = []
    for name in ("A", "B"):
        start = f"in_chain/{name}/"
        chain = {key.removeprefix(start): record[key] for key in record if key.startswith(start)}
        chains.append(
            Chain(
                (name,),
                str(chain["sequence"].astype(str)),
                recorded_alignment(chain, ""),
                recorded_alignment(chain, "_all_seq") if "msa_all_seq" in chain else None,
                recorded_templates(chain),
            )
        )
    return Query("recorded", tuple(chains))


@pytest.fixture(params=["hetero", "homo"])
def record(request: pytest.FixtureRequest, recorded: Recorded) -> dict[str, np.ndarray]:
    return recorded(f"data/multimer_pairing_{request.param}.npz")


def test_the_official_alignment_of_two_chains(record: dict[str, np.ndarray]) -> None:
    found = align_complex(recorded_query(record))
    assert np.array_equal(found.msa, record["merged/msa"])
    assert np.array_equal(found.deletion_matrix, record["merged/deletion_matrix"])
    assert np.array_equal(found.covered, record["merged/bert_mask"])
    assert len(found.msa) == record["merged/num_alignments"]
    # The network draws with the query always first, which is what this mask asks for.
    assert np.flatnonzero(record["merged/cluster_bias_mask"]).tolist() == [0]


def test_the_official_features_of_two_chains(record: dict[str, np.ndarray]) -> None:
    features = make_features(recorded_query(record), CONFIG, 0)
    names = ("aatype", "residue_index", "asym_id", "sym_id", "entity_id", "seq_mask")
    for name in (*names, "msa", "deletion_matrix"):
        assert np.array_equal(getattr(features, name), record[f"merged/{name}"]), name
    for key in (key for key in record if key.startswith("assembly/")):
        _, chain, name = key.split("/")
        asym = {"A_1": 1, "A_2": 2, "B_1": 2}[chain]
        values = getattr(features, name)[features.asym_id == asym]
        assert np.array_equal(values, record[key]), key
    assert np.array_equal(ATOM37_MASK[features.aatype], record["merged/all_atom_mask"])
    assert features.num_residues == record["merged/seq_length"]
    assert (features.entity_id > 0).astype(int).tolist() == record["merged/entity_mask"].tolist()
    assert features.asym_id.max() == record["merged/assembly_num_chains"]
    templates = features.templates
    assert templates is not None
    assert np.array_equal(templates.aatype, record["merged/template_aatype"])
    assert np.array_equal(templates.atom_mask, record["merged/template_all_atom_mask"])
    assert np.array_equal(templates.atom_positions, record["merged/template_all_atom_positions"])
    assert templates.mask.sum() == record["merged/num_templates"] == 3


def test_the_official_paired_rows(recorded: Recorded) -> None:
    record = recorded("data/multimer_pairing_hetero.npz")
    found = align_complex(recorded_query(record))
    order = [HHBLITS_ORDER.index(letter) for letter in LETTERS]
    to_hhblits = np.array(order)
    num_paired = len(record["paired_rows"])
    start = [0, 14, 26]
    below = num_paired
    for chain in (0, 1):
        place = slice(start[chain], start[chain + 1])
        paired = record[f"paired/{chain}/msa_all_seq"]
        assert record[f"paired/{chain}/num_alignments_all_seq"] == num_paired
        assert np.array_equal(to_hhblits[found.msa[:num_paired, place]], paired)
        assert np.array_equal(
            found.deletion_matrix[:num_paired, place],
            record[f"paired/{chain}/deletion_matrix_all_seq"],
        )
        unpaired = record[f"dedup/{chain}/msa"]
        block = slice(below, below + len(unpaired))
        assert record[f"dedup/{chain}/num_alignments"] == found.report.num_unpaired[chain]
        assert np.array_equal(to_hhblits[found.msa[block, place]], unpaired)
        assert np.array_equal(
            found.deletion_matrix[block, place], record[f"dedup/{chain}/deletion_matrix"]
        )
        below = block.stop
    assert below == len(found.msa)
