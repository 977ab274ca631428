"""Several chains: pairing by species, blocks of unpaired rows, templates side by side.

`multimer_pairing_*.npz` has the output of the official multimer pipeline for two chains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.features import pairing as module
from foldry.features.config import FeatureConfig
from foldry.features.msa import draw_msa
from foldry.features.pairing import (
    ComplexAlignment,
    PairedRow,
    Pairing,
    align_complex,
    pair_rows,
    species_of,
)
from foldry.features.pipeline import make_features
from foldry.query import Alignment, Chain, Hit, Query
from foldry.residues import ATOM37_MASK, GAP, HHBLITS_ORDER, RESTYPES_WITH_X
from foldry.structure import Structure
from tests.alignments import counted
from tests.features.conftest import Recorded

CONFIG = FeatureConfig(num_msa=4, num_extra_msa=4, num_templates=4, pad_templates=True)
LETTERS = RESTYPES_WITH_X + "-"


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    """Tests change the bounds, by which an answer that was kept is another."""
    align_complex.cache_clear()


def recorded_alignment(chain: Mapping[str, np.ndarray], suffix: str) -> Alignment:
    species = chain[f"msa_species_identifiers{suffix}"].astype(str)
    return counted(
        headers=[f"tr|A0A146SKV9|A0A146SKV9_{name}/1-9" if name else "q" for name in species],
        letters=np.frombuffer(HHBLITS_ORDER.encode(), np.uint8)[chain[f"msa{suffix}"]],
        deletions=chain[f"deletion_matrix_int{suffix}"],
    )


def recorded_templates(chain: Mapping[str, np.ndarray]) -> tuple[Hit, ...]:
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
        hits.append(Hit("t_A", np.stack([there, np.arange(count)], axis=1), structure))
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
    # The query is always the first row of a draw, as this mask requires.
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
    chains = [key for key in record if key.endswith("/template_aatype") and "in_chain" in key]
    most = min(max(len(record[key]) for key in chains), CONFIG.num_templates)
    assert templates.mask.sum() == record["merged/num_templates"] == most


def test_the_official_paired_rows(recorded: Recorded) -> None:
    record = recorded("data/multimer_pairing_hetero.npz")
    found = align_complex(recorded_query(record))
    to_hhblits = np.array([HHBLITS_ORDER.index(letter) for letter in LETTERS])
    num_paired = len(record["paired_rows"])
    lengths = [len(str(record[f"in_chain/{name}/sequence"].astype(str))) for name in "AB"]
    start = np.cumsum([0, *lengths])
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


@pytest.mark.parametrize(
    ("header", "species"),
    [
        ("tr|A0A146SKV9|A0A146SKV9_FUNHE", "FUNHE"),
        ("sp|P0C2L1|A3X1_LOXLA/5-90 Venom OS=Loxosceles OX=58217", "LOXLA"),
        ("sp|P0C2L1_1|A3X1_LOXLA_3", "LOXLA"),
        ("tr|A0A146SKV9|A0A146SKV9_9BRAD/1-2", "9BRAD"),
        ("UniRef90_P0C2L1/1-9 n=2 Tax=Loxosceles TaxID=58217 RepID=A3X1_LOXLA", "LOXLA"),
        ("UniRef100_A0A1 n=1 Tax=Bacteria TaxID=2 RepID=A0A1_9BACT", "2"),
        ("UniRef100_A0A1 n=1 RepID=A0A1_9BACT", "9BACT"),
        ("UniRef100_UPI0001 n=1 Tax=Homo sapiens TaxID=9606 RepID=UPI0001", "9606"),
        ("whatever OX=9606 GN=x", "9606"),
        ("UniRef100_A0A1", ""),
        ("tr|A0A1|A0A146SKV9_FUNHE", ""),
        ("xtr|A0A146SKV9|A0A146SKV9_FUNHE", ""),
        ("MGYP001", ""),
        ("", ""),
    ],
)
def test_species(header: str, species: str) -> None:
    assert species_of(header) == species


def rows(*named: tuple[str, str]) -> Alignment:
    """An alignment of (species, letters)."""
    headers = tuple(f"tr|A0A146SKV9|A0A146SKV9_{name}" if name else "q" for name, _ in named)
    sequences = tuple(letters for _, letters in named)
    return Alignment.of(headers, sequences)


def text(aligned: ComplexAlignment) -> list[str]:
    return ["".join(LETTERS[code] for code in row) for row in aligned.msa]


# HUMAN has two rows in A and one in B; MOUSE is in A and C, YEAST in all, ECOLI only in A.
A = rows(("", "AAAA"), ("HUMAN", "AACC"), ("HUMAN", "AAAC"), ("MOUSE", "ACCC"), ("YEAST", "CCCC"),
         ("ECOLI", "AACA"), ("", "GGGG"))  # fmt: skip
B = rows(("", "DDD"), ("YEAST", "DDE"), ("HUMAN", "DEE"), ("", "GGG"))
C = rows(("", "FF"), ("MOUSE", "FK"), ("YEAST", "KF"))


def trimer(*, a: tuple[str, ...] = ("A",)) -> Query:
    return Query("trimer", (Chain(a, "AAAA", A), Chain(("Y",), "DDD", B), Chain(("Z",), "FF", C)))


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        # HUMAN's most similar row is row 2; the pair with the product 2·2 comes after 3·1.
        ("alphafold", ["AAAADDDFF", "CCCCDDEKF", "ACCC---FK", "AAACDEE--"]),
        ("greedy", ["AAAADDDFF", "CCCCDDEKF", "ACCC---FK", "AAACDEE--"]),
        ("complete", ["AAAADDDFF", "CCCCDDEKF"]),
        ("none", ["AAAADDDFF"]),
    ],
)
def test_rows_are_paired_by_species(pairing: Pairing, expected: list[str]) -> None:
    aligned = align_complex(trimer(), pairing)
    num_paired = len(expected)
    assert text(aligned)[:num_paired] == expected
    assert aligned.covered[:num_paired].all()
    used = {row[:4] for row in expected}, {row[4:7] for row in expected}, {r[7:] for r in expected}
    blocks = [
        *(row + "-----" for row in A.sequences if row not in used[0]),
        *("----" + row + "--" for row in B.sequences if row not in used[1]),
        *("-------" + row for row in C.sequences if row not in used[2]),
    ]
    assert text(aligned)[num_paired:] == blocks
    assert (aligned.covered[num_paired:] == (aligned.msa[num_paired:] != GAP)).all()
    assert sum(aligned.report.num_unpaired) == len(blocks)


def test_as_many_rows_of_a_species_are_paired_as_every_chain_has() -> None:
    two = rows(("", "DD"), ("HUMAN", "EE"), ("HUMAN", "DE"), ("HUMAN", "KK"))
    query = Query("q", (Chain(("A",), "AAAA", A), Chain(("B",), "DD", two)))
    # The best rows are paired; of two pairs, the one with the smaller product comes first.
    assert text(align_complex(query))[:3] == ["AAAADD", "AACCEE", "AAACDE"]
    assert text(align_complex(query, "greedy"))[:3] == ["AAAADD", "AAACDE", "AACC--"]


def test_the_report_lists_what_was_paired_and_why_not() -> None:
    report = align_complex(trimer()).report
    assert report.chains == ("A", "Y", "Z")
    assert report.rows == (
        PairedRow("", (0, 0, 0)),
        PairedRow("YEAST", (4, 1, 2)),
        PairedRow("MOUSE", (3, None, 1)),
        PairedRow("HUMAN", (2, 2, None)),
    )
    outcomes = {
        each.species: (each.counts, each.num_paired, each.reason) for each in report.species
    }
    assert outcomes == {
        "ECOLI": ((1, 0, 0), 0, "in one chain only"),
        "HUMAN": ((2, 1, 0), 1, ""),
        "MOUSE": ((1, 0, 1), 1, ""),
        "YEAST": ((1, 1, 1), 1, ""),
    }
    assert report.without_species == (1, 1, 0)
    reasons = {
        each.species: each.reason for each in align_complex(trimer(), "complete").report.species
    }
    assert reasons["HUMAN"] == "not in all chains"
    assert {each.reason for each in align_complex(trimer(), "none").report.species} == {
        "pairing is off"
    }


def test_copies_of_a_chain_are_paired_with_themselves() -> None:
    aligned = align_complex(trimer(a=("A", "B")))
    assert aligned.report.chains == ("A", "B", "Y", "Z")
    # ECOLI is in both copies of the first chain.
    assert PairedRow("ECOLI", (5, 5, None, None)) in aligned.report.rows
    assert "AACAAACA-----" in text(aligned)
    assert text(aligned)[0] == "AAAAAAAADDDFF"
    assert "GGGGGGGG-----" in text(aligned)


def test_chains_with_equal_sequences_share_their_alignments() -> None:
    first, second = rows(("", "AA"), ("", "AC")), rows(("", "AA"), ("", "CA"))
    other = rows(("", "D"), ("", "E"))
    chains = (
        Chain(("A",), "AA", first), Chain(("B",), "D", other), Chain(("C",), "AA", second)
    )  # fmt: skip
    assert text(align_complex(Query("q", chains))) == ["AADAA", "AC-AC", "CA-CA", "-" * 2 + "E--"]
    only = Query("q", (chains[0], chains[2]))
    assert text(align_complex(only)) == ["AAAA", "ACAC", "CACA"]
    features = make_features(Query("q", chains), CONFIG, 0)
    assert features.asym_id.tolist() == [1, 1, 2, 3, 3]
    assert features.entity_id.tolist() == [1, 1, 2, 1, 1]
    assert features.sym_id.tolist() == [1, 1, 1, 2, 2]


def test_rows_for_pairing_are_not_read_unpaired() -> None:
    other = Chain(("B",), "DDD", B)
    both = Chain(("A",), "AAAA", rows(("", "AAAA"), ("", "GGGG")), A)
    aligned = align_complex(Query("q", (both, other)))
    assert text(aligned)[:3] == ["AAAADDD", "AAACDEE", "CCCCDDE"]
    assert "GGGG---" in text(aligned)
    assert "AACA---" not in text(aligned)
    assert text(align_complex(Query("q", (Chain(("A",), "AAAA", None, A), other))))[:3] == [
        "AAAADDD", "AAACDEE", "CCCCDDE"
    ]  # fmt: skip


def test_chains_without_alignments() -> None:
    query = Query("q", (Chain(("A", "B"), "AC"), Chain(("C",), "D")))
    assert text(align_complex(query)) == ["ACACD"]
    assert text(align_complex(Query("q", (Chain(("A", "B"), "AC"),)))) == ["ACAC"]


def test_rows_that_a_file_paired_stay_together() -> None:
    one = Chain(
        ("A", "B"),
        "AA",
        rows(("", "AA"), ("", "CC")),
        rows(*(("", r) for r in ("AA", "AC", "--", "AC", "AC"))),
    )
    two = Chain(
        ("C",),
        "DDD",
        rows(("", "DDD"), ("", "DEE")),
        rows(*(("", r) for r in ("DDD", "DEE", "EEE", "---", "DEE"))),
    )
    aligned = align_complex(Query("q", (one, two), paired_by_row=True))
    assert text(aligned) == ["AAAADDD", "ACACDEE", "----EEE", "ACAC---", "CCCC---"]
    assert [row.rows for row in aligned.report.rows] == [
        (0, 0, 0), (1, 1, 1), (None, None, 2), (3, 3, None)
    ]  # fmt: skip
    assert aligned.report.num_unpaired == (1, 1, 0)
    uneven = Query("q", (one, Chain(("C",), "DDD")), paired_by_row=True)
    with pytest.raises(InputError, match="with 1 and with 5 paired rows"):
        align_complex(uneven)


def test_a_chain_has_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 4)
    aligned = align_complex(trimer())
    # Two paired rows; the first two chains have both, so two unpaired ones each.
    assert text(aligned)[:2] == ["AAAADDDFF", "CCCCDDEKF"]
    assert len(aligned.report.rows) == 2
    assert aligned.report.num_unpaired == (2, 1, 0)
    assert len(aligned.msa) == 5
    assert len(align_complex(Query("q", (Chain(("A", "B"), "AAAA", A),))).msa) == 4
    assert len(align_complex(Query("q", (Chain(("A",), "AAAA", A),))).msa) == 7


def test_the_alignment_of_a_single_chain_is_not_copied() -> None:
    """Copies took three quarters of the memory of 20,000 rows."""
    aligned, rows = (
        align_complex(Query("q", (Chain(("A",), "AAAA", A),))),
        module._distinct((A,), "AAAA"),
    )
    assert aligned.msa is rows.codes and aligned.deletion_matrix is rows.deletions
    assert aligned.covered.shape == aligned.msa.shape and (aligned.covered == 1).all()
    assert aligned.covered.base is not None and aligned.covered.base.size == 4


def test_a_species_of_too_many_rows_is_not_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SPECIES_ROWS", 1)
    report = align_complex(trimer()).report
    assert [row.species for row in report.rows] == ["", "YEAST", "MOUSE"]
    assert report.species[1].reason == "more than 1 rows in one chain"


SPECIES = st.lists(st.sampled_from(["", "HUMAN", "MOUSE", "YEAST"]), min_size=1, max_size=12)


@settings(deadline=None)
@given(
    st.lists(SPECIES, min_size=2, max_size=4),
    st.integers(0, 2**32),
    st.sampled_from(["alphafold", "greedy", "complete"]),
)
def test_pairs_have_one_species_and_share_no_row(
    species: list[list[str]], seed: int, pairing: Pairing
) -> None:
    rng = np.random.default_rng(seed)
    identity = [rng.integers(0, 6, len(names)) for names in species]
    paired, outcomes = pair_rows(species, identity, pairing)
    for k, names in enumerate(species):
        used = [row.rows[k] for row in paired if row.rows[k] is not None]
        assert len(set(used)) == len(used)
        assert 0 not in used
        assert all(names[n] == row.species for row in paired if (n := row.rows[k]) is not None)
        # No row that was left out is more similar to the query than a paired one.
        for name in {row.species for row in paired}:
            mine = {n for n in used if names[n] == name}
            others = {n for n in range(1, len(names)) if names[n] == name} - mine
            worst = min((identity[k][n] for n in mine), default=np.inf)
            assert all(identity[k][n] <= worst for n in others)
    sizes = [sum(n is not None for n in row.rows) for row in paired]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size >= 2 for size in sizes)
    assert sum(outcome.num_paired for outcome in outcomes) == len(paired)
    assert all(bool(outcome.num_paired) != bool(outcome.reason) for outcome in outcomes)


def test_missing_templates_are_empty_rows() -> None:
    query = Query("q", (Chain(("A", "B"), "AC"),))
    features = make_features(query, CONFIG, 0)
    assert features.templates is not None
    assert features.templates.aatype.tolist() == [[0] * 4] * 4
    assert not features.templates.atom_mask.any()
    assert features.templates.mask.tolist() == [0] * 4


def test_gaps_of_paired_rows_do_not_count_for_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 4)
    pair = [Chain((name,), "A" + name, rows(("", "A" + name), ("HUMAN", "CC"))) for name in "FY"]
    other = Chain(("W",), "W", rows(("", "W"), *(("", letter) for letter in "CDEK")))
    report = align_complex(Query("q", (*pair, other))).report
    assert [row.rows for row in report.rows] == [(0, 0, 0), (1, 1, None)]
    # The last chain has one paired row, which leaves three unpaired ones.
    assert report.num_unpaired == (0, 0, 3)


def test_the_masked_msa_loss_ignores_gaps_beside_a_block() -> None:
    config = replace(CONFIG, num_msa=99, masked_fraction=1.0)
    features = make_features(trimer(), config, 0)
    draw = draw_msa(features, 0)
    assert (draw.msa_feat[..., 22] == 1).any(axis=1).all(), "letters are masked in every row"
    beside = (draw.true_msa == GAP) & (draw.bert_mask == 0)
    assert (draw.bert_mask + beside == 1).all(), "all else is learnt"
    # The letters of A, B and C that no paired row has, each beside the gaps of the other chains.
    aligned = align_complex(trimer())
    assert beside.sum() == (aligned.covered == 0).sum() > 0


def test_pairing_runs_once_for_all_seeds() -> None:
    first, second = (make_features(trimer(), CONFIG, seed) for seed in (0, 1))
    assert first.msa is second.msa
    assert make_features(trimer(), CONFIG, 0, "greedy").msa is not first.msa
    kept = module._distinct.cache_info().hits
    align_complex(Query("q", (Chain(("A",), "AAAA", A), Chain(("B",), "KK"))))
    assert module._distinct.cache_info().hits > kept, "chain A was read for the trimer"


def test_a_template_of_one_chain_leaves_other_chains_empty() -> None:
    length = 3
    mask = np.zeros((length, 37), bool)
    mask[:, :5] = True
    structure = Structure(
        name="t",
        aatype=np.array([0, 4, 3]),
        residue_number=np.arange(length),
        insertion_code=np.full(length, ""),
        chain_id=np.full(length, "A"),
        atom_positions=np.ones((length, 37, 3), np.float32) * mask[..., None],
        atom_mask=mask,
        b_factor=np.zeros((length, 37)),
    )
    hit = Hit("t_A", np.arange(length)[:, None] * [1, 1], structure)
    query = Query("q", (Chain(("A",), "GG"), Chain(("B",), "ACD", templates=(hit,))))
    templates = make_features(query, CONFIG, 0).templates
    assert templates is not None
    assert templates.mask.tolist() == [1, 0, 0, 0]
    assert templates.aatype[0].tolist() == [0, 0, 0, 4, 3]
    assert templates.atom_mask.sum(axis=(1, 2)).tolist() == [15, 0, 0, 0]
    assert not templates.atom_mask[:, :2].any()
