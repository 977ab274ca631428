"""Queries built by a program."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.features.pairing import align_complex
from foldry.formats.sequence import chain_names
from foldry.query import Alignment, Chain, Hit, Query, Source
from foldry.structure import Structure
from tests.alignments import counted


def structure(name: str = "1abc_A") -> Structure:
    return Structure(
        name=name,
        aatype=np.arange(3),
        residue_number=np.arange(3),
        insertion_code=np.full(3, ""),
        chain_id=np.full(3, "A"),
        atom_positions=np.zeros((3, 37, 3)),
        atom_mask=np.ones((3, 37), bool),
        b_factor=np.zeros((3, 37)),
    )


@st.composite
def a3m_rows(draw: st.DrawFn) -> list[str]:
    """Draw rows of one length, with insertions everywhere."""
    length = draw(st.integers(0, 5))
    inserted = st.text("acx", max_size=2)
    return [
        "".join(draw(inserted) + draw(st.sampled_from("ACU-")) for _ in range(length))
        + draw(inserted)
        for _ in range(draw(st.integers(1, 5)))
    ]


def pieces(row: str) -> list[str]:
    """Return the insertions before each column and after the last."""
    return re.split("[A-Z-]", row)


def test_lists_are_accepted_instead_of_tuples() -> None:
    chains = [Chain(["A"], "MKTAY", templates=[]), Chain(["B"], "MKV")]  # type: ignore[arg-type]
    query = Query("q", chains, [1, 2])  # type: ignore[arg-type]
    same = Query("q", (Chain(("A",), "MKTAY"), Chain(("B",), "MKV")), (1, 2))
    assert query == same and hash(query) == hash(same)
    chains.clear()
    assert query.num_residues == 8
    assert align_complex(query) is align_complex(same)


@settings(deadline=None)
@given(a3m_rows())
def test_an_alignment_keeps_its_rows(rows: list[str]) -> None:
    headers = [f"r{number}" for number in range(len(rows))]
    alignment = Alignment.of(headers, rows)
    assert alignment.texts == tuple(rows)
    assert alignment.sequences == tuple(re.sub("[a-z]", "", row) for row in rows)
    assert alignment.query == alignment.sequences[0]
    lost = [[len(piece) for piece in pieces(row)] for row in rows]
    assert alignment.deletions.tolist() == [counts[:-1] for counts in lost]
    assert alignment == Alignment.of(headers, rows)
    known = counted(headers, alignment.letters, alignment.deletions)
    assert known.deletions.tolist() == alignment.deletions.tolist()
    ends = [re.sub("[a-z]", "x", re.sub("[a-z]*$", "", row)) for row in rows]
    assert known.texts == tuple(ends)


@settings(deadline=None)
@given(a3m_rows(), st.data())
def test_rows_and_columns_equal_slices_of_the_text(rows: list[str], data: st.DataObject) -> None:
    headers = [f"r{number}" for number in range(len(rows))]
    alignment = Alignment.of(headers, rows)
    source = Source("jackhmmer", "uniref90", np.arange(len(rows)) * 0.5)
    alignment = replace(alignment, source=source)
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    some = alignment.rows(np.array(picked, int))
    assert some.texts == tuple(rows[number] for number in picked)
    assert some.headers == tuple(headers[number] for number in picked)
    assert some.source is not None and some.source.e_values is not None
    assert some.source.e_values.tolist() == [number / 2 for number in picked]
    kept = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    masked = alignment.rows(np.array(kept))
    assert masked.texts == tuple(row for row, keep in zip(rows, kept, strict=True) if keep)

    length = alignment.letters.shape[1]
    begin = data.draw(st.integers(0, max(length - 1, 0)))
    end = data.draw(st.integers(min(begin + 1, length), length))
    parts = []
    for row, sequence in zip(rows, alignment.sequences, strict=True):
        gaps = pieces(row)
        if begin:
            gaps[begin] = ""
        if end < length:
            gaps[end] = ""
        letters = [gap + letter for gap, letter in zip(gaps, sequence + "!", strict=True)]
        parts.append("".join(letters[begin:end]) + gaps[end])
    assert alignment.columns(begin, end).texts == tuple(parts)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["ACD", "A.D"], "row 2 of the alignment is a row with '[.]'"),
        (["ACD", "Aé-"], "row 2 of the alignment is a row with 'é'"),
        (["ACD", "", "A C"], "row 3 of the alignment is a row with ' '"),
        (["ACD", "AcD"], "row 2 of the alignment has 2 .* has 3"),
    ],
)
def test_invalid_rows_are_refused(rows: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Alignment.of([""] * len(rows), rows)


def test_content_is_compared_and_hashed() -> None:
    def query() -> Query:
        alignment = Alignment.of(["q", "r"], ["MKT", "M-aT"])
        hit = Hit("1abc_A", np.array([[0, 0]]), structure())
        return Query("q", (Chain(("A",), "MKT", alignment, templates=(hit,)),), (1,))

    one = query()
    assert one == query() and hash(one) == hash(query()) and one.key == query().key
    assert {one: 1}[query()] == 1
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    [chain] = one.chains
    [hit] = chain.templates
    assert chain.alignment is not None and hit.structure is not None
    moved = hit.structure.atom_positions.copy()
    moved[0, 0, 0] = np.nextafter(0, 1)
    others = [
        *(replace(chain.alignment, headers=("q", name)) for name in ("s", "r ")),
        Alignment.of(["q", "r"], ["MKT", "M-cT"]),
        Alignment.of(["q", "r"], ["MKT", "M-Ta"]),
        Alignment.of(["q", "r"], ["MKT", "M-T"]),
        Alignment.of(["q", "r"], ["MKT", "MXaT"]),
    ]
    hits = [
        replace(hit, name="1abc_B"),
        replace(hit, pairs=np.array([[0, 1]])),
        replace(hit, release_date="2001-01-01"),
        replace(hit, structure=None),
        replace(hit, structure=structure("other")),
        replace(hit, structure=replace(hit.structure, atom_positions=moved)),
    ]
    chains = [replace(chain, alignment=other) for other in others]
    chains += [replace(chain, templates=(other,)) for other in hits]
    chains += [replace(chain, paired=chain.alignment), replace(chain, ids=("B",))]
    chains += [replace(chain, sequence="MKX")]
    queries = [replace(one, chains=(other,)) for other in chains]
    queries += [replace(one, name="r"), replace(one, seeds=(2,)), replace(one, paired_by_row=True)]
    assert len({one, *queries}) == len({each.key for each in (one, *queries)}) == 1 + len(queries)
    same = {each.inputs_key for each in queries[-3:-1]}
    assert same == {one.inputs_key}
    assert len({each.inputs_key for each in queries}) == len(queries) - 1
    assert one != one.key and chain.alignment != hit


def test_sources_and_scores_are_ignored_in_comparisons() -> None:
    alignment = Alignment.of(["q"], ["MKT"])
    assert replace(alignment, source=Source("hhblits", "bfd")) == alignment
    hit = Hit("1abc_A", np.array([[0, 0]]))
    assert replace(hit, e_value=1e-9, probability=0.9, identity=0.5, coverage=1.0) == hit
    assert hit.chain == "A"
    with pytest.raises(InputError, match="no structure"):
        hit.known_structure()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../evil",
        "..",
        ".hidden",
        "-x",
        "x.",
        "_x",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "a\u202eb",
        "ä" * 51,
    ],
)
def test_a_name_that_is_not_safe_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be named"):
        Query(name, (Chain(("A",), "MK"),))


@pytest.mark.parametrize("ids", [(), ("",), ("A_1",), ("A b",), ("é",), ("A" * 9,)])
def test_invalid_chain_names_are_refused(ids: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="A chain has the ids"):
        Chain(ids, "MK")


@pytest.mark.parametrize("sequence", ["", "MKu", "MKU", "M-K", "MK\n", "MKB"])
def test_invalid_sequences_are_refused(sequence: str) -> None:
    with pytest.raises(InputError, match="has the sequence"):
        Chain(("A",), sequence)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["AC", "CC"], "has 2 residues and not 3"),
        (["ACE", "ACD"], "is another sequence .E for D at residue 3"),
        (["A-D", "ACD"], "is another sequence .- for C at residue 2"),
        (["ACaD", "ACD"], "has insertions"),
    ],
)
def test_rows_that_begin_with_another_sequence_are_refused(rows: list[str], said: str) -> None:
    alignment = Alignment.of([""] * len(rows), rows)
    with pytest.raises(InputError, match=f"Chain B has unpaired rows, the first of which {said}"):
        Chain(("B",), "ACD", alignment)
    with pytest.raises(InputError, match=f"Chain B has paired rows, the first of which {said}"):
        Chain(("B",), "ACD", paired=alignment)
    assert Chain(("B",), "AXD", Alignment.of(["", ""], ["AUDx", "A-D"]))


@pytest.mark.parametrize("seed", [-1, 2**32, True])
def test_invalid_seeds_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match="has the seed"):
        Query("q", (Chain(("A",), "MK"),), (seed,))


def test_the_size_of_a_query_is_limited() -> None:
    with pytest.raises(InputError, match="Query q has 1001 seeds"):
        Query("q", (Chain(("A",), "MK"),), tuple(range(1001)))
    with pytest.raises(InputError, match="Query q has 1001 chains"):
        Query("q", (Chain(chain_names(1001), "MK"),))


def test_chains_have_different_names() -> None:
    with pytest.raises(InputError, match="two chains named 'A'"):
        Query("q", (Chain(("A",), "MK"), Chain(("B", "A"), "MV")))
    with pytest.raises(InputError, match="has no chain"):
        Query("q", ())


def test_query_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    for name in ("1abc.db55_lu_A", "a..b", "7"):
        assert (tmp_path / Query(name, (Chain(("A",), "MK"),)).name).parent == tmp_path


@pytest.mark.parametrize(("headers", "rows"), [([], []), (["a"], ["MK", "MK"]), (["a\nb"], ["MK"])])
def test_an_alignment_has_a_header_of_one_line_for_each_row(
    headers: list[str], rows: list[str]
) -> None:
    with pytest.raises(InputError, match="An alignment has no rows"):
        Alignment.of(headers, rows)


def test_a_chain_converts_lists_to_tuples() -> None:
    """Chains are frozen: a list that a caller changes later is not part of one."""
    hit = Hit("1abc_A", np.array([[0, 0]]), structure())
    chain = Chain(["A", "B"], "MK", templates=[hit])  # type: ignore[arg-type]
    assert chain.ids == ("A", "B") and chain.templates == (hit,)


def test_an_alignment_may_have_as_many_rows_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.query.MAX_ROWS", 3)
    assert Alignment.of(["q", "a", "b"], ["MKV"] * 3).num_rows == 3
    with pytest.raises(InputError, match="keep at most 3 rows"):
        Alignment.of(["q", "a", "b", "c"], ["MKV"] * 4)


@given(a3m_rows(), st.integers(1, 12))
@settings(deadline=None)
def test_blocks_of_any_size_give_the_same_alignment(rows: list[str], block: int) -> None:
    headers = [f"h{number}" for number in range(len(rows))]
    whole = Alignment.of(headers, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foldry.query._BLOCK", block)
        blocks = Alignment.of(headers, rows)
    assert blocks == whole and blocks.texts == tuple(rows)


@given(st.lists(a3m_rows(), min_size=1, max_size=4))
@settings(deadline=None)
def test_joined_alignments_have_the_rows_of_all(parts: list[list[str]]) -> None:
    width = min(sum(not letter.islower() for letter in rows[0]) for rows in parts)
    aligned = [Alignment.of(["q"] * len(rows), rows).columns(0, width) for rows in parts]
    joined = Alignment.joined(aligned)
    others = [text for each in aligned[1:] for text in each.texts[1:]]
    assert list(joined.texts) == [*aligned[0].texts, *others]


def test_alignments_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = Alignment.of(["q", "r"], ["MK", "MV"]), Alignment.of(["q"], ["MKT"])
    with pytest.raises(InputError, match="cannot be joined"):
        Alignment.joined([short, long])
    monkeypatch.setattr("foldry.query.MAX_ROWS", 2)
    with pytest.raises(InputError, match="Alignments of 3 rows cannot be joined"):
        Alignment.joined([short, short])


def test_the_short_text_of_an_alignment_has_its_size() -> None:
    assert repr(Alignment.of(["q", "r"], ["MKT", "M-T"])) == "Alignment(2 rows, 3 columns)"


@pytest.mark.parametrize(("headers", "rows"), [("ab", ["M", "K"]), (["a"], [3]), (["a"], "M")])
def test_headers_and_rows_are_lists_of_text(headers: object, rows: object) -> None:
    with pytest.raises(InputError, match="is not a list of text: give headers and rows as lists"):
        Alignment.of(headers, rows)  # type: ignore[arg-type]


def test_a_chain_is_not_a_text() -> None:
    with pytest.raises(InputError, match="'MKT' is not a chain of query q"):
        Query("q", ("MKT",))  # type: ignore[arg-type]
