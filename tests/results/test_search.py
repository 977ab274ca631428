"""What a search writes: files that can be read back, the depth of alignments, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import foldry
from foldry.errors import BusyError, InputError
from foldry.formats.a3m import parse_a3m
from foldry.measures import MEASURES
from foldry.query import Alignment, Chain, Query
from foldry.results import depth, search, search_page
from foldry.results.depth import summary, warnings
from foldry.results.search import write_search
from foldry.results.search_page import search_html
from foldry.search.msas import msa_files
from foldry.search.recipes import Step
from foldry.search.result import Found, SearchResult
from foldry.store.files import names, write_json, write_text
from foldry.store.locks import hold
from tests.browser import Page
from tests.conftest import ROOT
from tests.results.test_report import EVIL, Elements, assert_silent, embedded, policy, source, texts

KUNITZ = ROOT / "examples" / "kunitz" / "1adz.a3m"
COMPLEX = ROOT / "examples" / "trypsin_kunitz.json"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"
CONTROLS = "\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}\x07"


def rows(*texts: str, name: str = "hit{}") -> Alignment:
    """Return the alignment of some rows, named by their numbers."""
    return Alignment.of([name.format(number) for number in range(len(texts))], texts)


def many(number: int, *, alike: bool = False) -> Alignment:
    """Return `SEQUENCE` and homologues that differ in 90 % of the residues, or in a single one."""
    rng = np.random.default_rng(0)
    letters = np.tile(np.frombuffer(SEQUENCE.encode(), np.uint8), (number + 1, 1))
    for row in range(1, number + 1):
        changed = np.arange(len(SEQUENCE)) == row % 33 if alike else rng.random(33) < 0.9
        letters[row, changed] = rng.choice(list(b"ACDEFGHILNPW"), changed.sum())
    return rows(*(row.tobytes().decode() for row in letters))


def searched(
    *alignments: Alignment, limit: int | None = None, seconds: float | None = 12.34
) -> tuple[Found, ...]:
    """Return what searches of the databases db0, db1 … found for a chain."""
    return tuple(
        Found(Step("jackhmmer", (f"db{number}",), f"db{number}_hits.sto", limit), each, seconds)
        for number, each in enumerate(alignments)
    )


def result(*found: tuple[Found, ...], sequence: str = SEQUENCE) -> SearchResult:
    """Return the result of searches for chains that all have one sequence."""
    chains = []
    for letter, each in zip("ABCDEF", found, strict=False):
        unpaired = [one.alignment for one in each if not one.for_pairing]
        paired = [one.alignment for one in each if one.for_pairing]
        joined = [Alignment.joined(parts) if parts else None for parts in (unpaired, paired)]
        chains.append(Chain((letter,), sequence, *joined))
    return SearchResult(Query("q", tuple(chains)), "full", found)


def given(*alignments: Alignment | None, sequence: str = SEQUENCE) -> SearchResult:
    """Return a result in which each chain came with its alignment."""
    chains = [
        Chain((letter,), sequence, each) for letter, each in zip("ABCDEF", alignments, strict=False)
    ]
    return SearchResult(Query("q", tuple(chains)), "none", ((),) * len(chains))


def dimer(first: Alignment, second: Alignment, *, by_row: bool = False) -> SearchResult:
    """Return a complex of `SEQUENCE` and its reverse, with rows for pairing."""
    chains = (
        Chain(("A",), first.query, many(40), first),
        Chain(("B",), second.query, reverse(many(40)), second),
    )
    query = Query("q", chains, paired_by_row=by_row)
    return SearchResult(query, "full", ((), ()))


def reverse(alignment: Alignment) -> Alignment:
    """Return the alignment of the reversed sequence."""
    reversed_rows = rows(*(each[::-1] for each in alignment.sequences))
    return replace(reversed_rows, headers=alignment.headers)


def species(*names: str) -> Alignment:
    """Return an alignment with one row of each species."""
    headers = ["q", *(f"tr|A0A000|A0A000_{each}" for each in names)]
    return replace(many(len(names)), headers=tuple(headers))


# Files


@pytest.mark.parametrize("example", [KUNITZ, COMPLEX])
def test_a_query_can_be_read_back_with_its_alignments(tmp_path: Path, example: Path) -> None:
    query = replace(foldry.read_query(example), seeds=(3, 4))
    folder = write_search(SearchResult(query, "none", ((),) * len(query.chains)), tmp_path)
    assert folder == tmp_path / query.name
    back = foldry.read_query(folder / f"{query.name}.json")
    assert (back.name, back.chains, back.seeds) == (query.name, query.chains, query.seeds or (0,))
    for chain in query.chains:
        assert chain.alignment is not None
        assert parse_a3m((folder / "a3m" / f"{chain.ids[0]}.a3m").read_text()) == chain.alignment
        paired = folder / "a3m" / f"{chain.ids[0]}_paired.a3m"
        assert paired.exists() is (chain.paired is not None)
        assert not chain.paired or parse_a3m(paired.read_text()) == chain.paired


def test_copies_share_one_file(tmp_path: Path) -> None:
    chains = (Chain(("A", "B"), SEQUENCE, many(3)), Chain(("C",), "MKV"))
    made = SearchResult(Query("q", chains), "small", (searched(many(3)), ()))
    folder = write_search(made, tmp_path)
    assert names(folder) == ["a3m", "q.json", "search.html", "search.json"]
    assert names(folder / "a3m") == ["A.a3m", "C.a3m"]
    assert foldry.read_query(folder).chains == chains, "the a3m files are no further queries"
    assert (folder / "a3m" / "C.a3m").read_text() == ">C\nMKV\n"
    assert foldry.read_query(folder / "q.json").chains == chains
    assert foldry.read_query(folder / "a3m" / "A.a3m").chains[0].alignment == many(3)


def test_a_hostile_header_is_read_back(tmp_path: Path) -> None:
    hostile = rows(SEQUENCE, SEQUENCE[::-1], name=f"{EVIL} {{}} {CONTROLS}")
    folder = write_search(given(hostile), tmp_path)
    assert foldry.read_query(folder / "q.json").chains[0].alignment == hostile


def test_rows_paired_by_number_are_written_as_colabfold_writes_them(tmp_path: Path) -> None:
    made = dimer(many(5), reverse(many(5)), by_row=True)
    folder = write_search(made, tmp_path)
    assert not (folder / "q.json").exists()
    back = foldry.read_query(folder / "q.a3m")
    assert back.paired_by_row
    assert [chain.sequence for chain in back.chains] == [SEQUENCE, SEQUENCE[::-1]]
    for ours, theirs in zip(made.query.chains, back.chains, strict=True):
        assert ours.alignment and ours.paired and theirs.alignment and theirs.paired
        assert theirs.paired.sequences == ours.paired.sequences
        assert theirs.alignment.sequences == ours.alignment.sequences
    assert "q.a3m in the same folder" in (folder / "search.html").read_text()


def test_the_alignments_of_databases_are_written_on_request(tmp_path: Path) -> None:
    made = result(searched(many(3)), searched(many(4)))
    folder = write_search(made, tmp_path, msas=True)
    files = msa_files(made)
    assert {"A/db0_hits.sto", "chain_id_map.json"} <= files.keys()
    assert {name: (folder / "msas" / name).read_text() for name in files} == files
    write_search(made, tmp_path)
    assert names(folder) == ["a3m", "q.json", "search.html", "search.json"]


def test_another_search_replaces_the_files_of_the_last_one(tmp_path: Path) -> None:
    write_search(dimer(many(3), reverse(many(3))), tmp_path)
    folder = tmp_path / "q"
    mine = {"notes.txt", "C.a3m", "fold.json"}
    for name in mine:
        write_text(folder / name, "mine")
    write_search(given(many(4)), tmp_path)
    assert set(names(folder)) == {"a3m", "q.json", "search.html", "search.json", *mine}
    assert names(folder / "a3m") == ["A.a3m"]
    assert foldry.read_query(folder / "q.json").chains[0].alignment == many(4)
    assert {(folder / name).read_text() for name in mine} == {"mine"}


def test_the_files_of_a_killed_search_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, text: str) -> Path:
        if path.name == "q.json":
            raise KeyboardInterrupt
        return write_text(path, text)

    monkeypatch.setattr(search, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        write_search(dimer(many(3), reverse(many(3))), tmp_path)
    folder = tmp_path / "q"
    assert names(folder / "a3m") == ["A.a3m", "A_paired.a3m", "B.a3m", "B_paired.a3m"]
    monkeypatch.undo()
    write_search(given(many(4)), tmp_path)
    assert names(folder) == ["a3m", "q.json", "search.html", "search.json"]
    assert names(folder / "a3m") == ["A.a3m"]


@pytest.mark.parametrize("listed", [["../mine", ".", "", "..", "inner", "\0", "link"], {"a": 1}, 3])
def test_a_forged_record_removes_nothing_else(tmp_path: Path, listed: object) -> None:
    folder = tmp_path / "q"
    (folder / "inner").mkdir(parents=True)
    for path in (tmp_path / "mine", folder / "inner" / "mine"):
        write_text(path, "mine")
    (folder / "link").symlink_to(tmp_path / "mine")
    write_json(folder / search.RECORD, listed)
    write_search(given(many(4)), tmp_path)
    assert names(tmp_path) == ["mine", "q"]
    assert names(folder) == ["a3m", "inner", "link", "q.json", "search.html", "search.json"]
    assert names(folder / "inner") == ["mine"]


def test_a_folder_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    write_search(given(many(3)), tmp_path)
    with hold(tmp_path / "q"), pytest.raises(BusyError):
        write_search(given(many(4)), tmp_path)
    assert foldry.read_query(tmp_path / "q" / "q.json").chains[0].alignment == many(3)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "q", "mine")
    with pytest.raises(InputError, match="is a file"):
        write_search(given(many(3)), tmp_path)


# Depth


def plain_neff(sequences: Sequence[str]) -> float:
    """Return Neff, pair by pair of rows."""
    total = 0.0
    for row in sequences:
        similar = 0
        for other in sequences:
            pairs = list(zip(row, other, strict=True))
            equal = sum(a == b != "-" for a, b in pairs)
            shorter = min(len(each.replace("-", "")) for each in (row, other))
            similar += 10 * equal >= 8 * shorter
        total += 1 / similar
    return total


def test_the_depth_of_a_real_alignment() -> None:
    query = foldry.read_query(KUNITZ)
    [found] = summary(SearchResult(query, "none", ((),)))
    assert query.chains[0].alignment is not None
    different = list(dict.fromkeys(query.chains[0].alignment.sequences))
    counts = [len(different) - column.count("-") for column in zip(*different, strict=True)]
    assert found.depth == len(different)
    assert found.median_depth == sorted(counts)[31]
    assert found.well_covered == pytest.approx(sum(count >= 10 for count in counts) / 63)
    assert found.neff == pytest.approx(plain_neff(different), rel=1e-5)
    thin = [place for place, count in enumerate(counts, start=1) if count < 3]
    assert [each for first, last in found.sparse for each in range(first, last + 1)] == thin
    assert (found.residues, found.paired_rows, found.species) == (63, None, None)


def test_rows_that_occur_twice_or_are_empty_do_not_count() -> None:
    first = rows("MKT", "MRT", "---")
    made = result(searched(first, rows("MKT", "MRT", "M--", "MKT")), sequence="MKT")
    [found] = summary(made)
    assert (found.depth, found.median_depth, found.sparse) == (3, 2, ((2, 3),))


@pytest.mark.parametrize(("number", "share"), [(8, 0), (9, 1)])
def test_ten_rows_cover_a_residue_well(number: int, share: float) -> None:
    [found] = summary(given(many(number)))
    assert (found.depth, found.well_covered) == (number + 1, share)


def test_neff_of_a_deep_alignment_is_that_of_evenly_spaced_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alignment = many(40)
    monkeypatch.setattr(depth, "MAX_NEFF_ROWS", 5)
    summary.cache_clear()
    [found] = summary(given(alignment))
    assert found.depth == 41
    picked = [alignment.sequences[row] for row in (0, 10, 20, 30, 40)]
    assert found.neff == pytest.approx(plain_neff(picked))
    summary.cache_clear()


def test_the_measures_name_the_bounds() -> None:
    assert f"{depth.MAX_NEFF_ROWS:,} rows" in MEASURES["neff"].meaning
    assert f"at least {depth.MANY_ROWS} rows" in MEASURES["well_covered"].meaning


@pytest.mark.parametrize(
    ("alignment", "expected"),
    [
        (None, ["A: no homologues: expect low confidence."]),
        (many(1), ["A: 1 homologue: expect low confidence."]),
        (many(4), ["A: 4 homologues: expect low confidence."]),
        (many(29), ["A: 29 homologues: expect low confidence."]),
        (many(30), []),
        (many(400), []),
    ],
)
def test_few_homologues_are_worth_a_warning(
    alignment: Alignment | None, expected: list[str]
) -> None:
    assert warnings(given(alignment)) == expected


def test_similar_homologues_are_worth_a_warning() -> None:
    [said] = warnings(given(many(200, alike=True)))
    number = len(set(many(200, alike=True).sequences)) - 1
    assert said == (
        f"A: {number} homologues, but so similar that they count as 1.0 (Neff): "
        "expect low confidence."
    )


def test_residues_with_few_rows_are_worth_a_warning() -> None:
    sequence = SEQUENCE * 4
    parts = [many(40).sequences[row] + "-" * 99 for row in range(1, 41)]
    whole = [many(40).sequences[row] * 4 for row in range(1, 41)]
    assert warnings(given(rows(sequence, *parts), sequence=sequence)) == [
        "A: 40 homologues, but at most 1 row at half of the residues: expect low confidence there.",
        "A: residues 34–132 are covered by fewer than 3 rows.",
    ]
    holes = [f"{each[:50]}{'-' * 10}{each[60:70]}{'-' * 9}{each[79:]}" for each in whole]
    assert warnings(given(rows(sequence, *holes), sequence=sequence)) == [
        "A: residues 51–60 are covered by fewer than 3 rows."
    ]


def test_not_all_stretches_are_listed() -> None:
    sequence = SEQUENCE * 8
    hits = []
    for row in range(1, 41):
        text = list(many(40).sequences[row] * 8)
        for start in range(0, 240, 30):
            text[start : start + 12] = "-" * 12
        hits.append("".join(text))
    [said] = warnings(given(rows(sequence, *hits), sequence=sequence))
    assert said == (
        "A: residues 1–12, 31–42, 61–72, 91–102, 121–132 and 3 more are covered by fewer than "
        "3 rows."
    )


ORGANISMS = [f"SP{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("first", "second", "paired", "expected"),
    [
        (ORGANISMS, ORGANISMS, 20, []),
        (ORGANISMS, ORGANISMS[:10], 10, []),
        (ORGANISMS, ORGANISMS[:9], 9, ["A and B: only 9 rows could be paired by species."]),
        (ORGANISMS, ORGANISMS[:1], 1, ["A and B: only 1 row could be paired by species."]),
        (ORGANISMS[:10], ORGANISMS[10:], 0, ["A and B: no rows could be paired by species."]),
    ],
)
def test_few_paired_rows_are_worth_a_warning(
    first: list[str], second: list[str], paired: int, expected: list[str]
) -> None:
    made = dimer(species(*first), reverse(species(*second)))
    assert [chain.paired_rows for chain in summary(made)] == [paired] * 2
    assert [chain.species for chain in summary(made)] == [len(first), len(second)]
    assert warnings(made) == expected


def test_headers_without_a_species_are_worth_a_warning() -> None:
    made = dimer(many(30), reverse(species(*ORGANISMS)))
    assert warnings(made) == [
        "A: no row names its species, such as OX=9606 in its header, so that none can be paired "
        "with rows of other chains."
    ]


def test_rows_paired_by_number_name_no_species() -> None:
    made = dimer(many(12), reverse(many(12)), by_row=True)
    assert [(each.paired_rows, each.species) for each in summary(made)] == [(12, None)] * 2
    assert warnings(made) == []


def test_chains_of_one_sequence_are_not_paired_with_each_other() -> None:
    first, second = species(*ORGANISMS), reverse(species(*ORGANISMS[:12]))
    chains = (
        Chain(("A",), SEQUENCE, first),
        Chain(("B",), SEQUENCE, first),
        Chain(("C", "D"), SEQUENCE[::-1], second),
    )
    made = SearchResult(Query("q", chains), "none", ((),) * 3)
    assert [each.paired_rows for each in summary(made)] == [12, 12, 12]


def test_chains_without_homologues_are_not_said_to_have_no_pairs() -> None:
    chains = (Chain(("A",), SEQUENCE), Chain(("B",), SEQUENCE[::-1]))
    made = SearchResult(Query("q", chains), "none", ((), ()))
    assert [each.paired_rows for each in summary(made)] == [0, 0]
    assert warnings(made) == [f"{name}: no homologues: expect low confidence." for name in "AB"]


def test_copies_are_not_paired() -> None:
    homomer = Query("q", (Chain(("A", "B"), SEQUENCE, many(40)), Chain(("C",), SEQUENCE)))
    found = summary(SearchResult(homomer, "none", ((), ())))
    assert [each.paired_rows for each in found] == [None, None]
    assert warnings(SearchResult(homomer, "none", ((), ()))) == [
        "C: no homologues: expect low confidence."
    ]


# Page


def cells(text: str, label: str) -> list[list[str]]:
    """Return the texts of the rows of a table."""
    table = text[text.index(f'aria-label="{label}"') :].partition("</table>")[0]
    body = table.partition("<tbody>")[2]
    found = []
    for row in body.split("<tr>")[1:]:
        parts = [cell.partition("</td>")[0] for cell in row.split("<td>")[1:]]
        found.append([part.partition(">")[2].partition("<")[0] or part for part in parts])
    return found


def test_the_page_lists_each_search() -> None:
    first, second = many(3), many(6)
    assert second.sequences[:4] == first.sequences
    pairing = Found(Step("jackhmmer", ("uniprot",), "uniprot_hits.sto"), many(2), None, True)
    text = search_html(result((*searched(first, second, limit=7), pairing)))
    assert cells(text, "Databases") == [
        ["db0", "jackhmmer", "3", "3", "12.3 s"],
        ["db1", "jackhmmer", "6 (limit)", "3", "12.3 s"],
        ["uniprot (for pairing)", "jackhmmer", "2", "0", "kept from an earlier search"],
    ]
    assert [row[3] for row in cells(text, "Hits")] == ["db0"] * 3 + ["db1"] * 3
    assert "Description" not in text
    assert cells(text, "Chains") == [["A", "33", "7", "7.0", "7", "0.00"]]


def test_the_page_lists_the_first_hits() -> None:
    hits = rows("MKTA", "MR--", "-KTA", "MKTC", name="hit{} a  protein")
    text = search_html(given(hits, sequence="MKTA"))
    assert "This chain came with an alignment: none was searched for." in text
    assert cells(text, "Hits") == [
        ["hit1", "50 %", "50 %", "a  protein"],
        ["hit2", "100 %", "75 %", "a  protein"],
        ["hit3", "75 %", "100 %", "a  protein"],
    ]
    assert "All hits" in text and ">Description<" in text


def test_the_page_lists_not_all_hits() -> None:
    text = search_html(given(many(150)))
    assert len(cells(text, "Hits")) == search_page.MAX_HITS == 100
    assert "The first 100 of 150 hits" in text


def test_a_chain_without_an_alignment_has_no_plot() -> None:
    text = search_html(given(None, many(3)))
    data = embedded(text)
    assert isinstance(data, list)
    assert [each["id"] for each in data] == ["A", "B"]
    assert data[0]["coverage"] is None
    assert (data[1]["coverage"]["depth"], data[1]["coverage"]["perResidue"]) == (4, [4] * 33)
    assert "This chain has no alignment: none was searched for." in text
    assert text.count('class="coverage"') == 1


def evil_result(text: str) -> SearchResult:
    """Return a result whose texts from files all contain a text."""
    hits = rows(SEQUENCE, *many(3).sequences[1:], name=f"{text}{{}} {text}")
    step = Step(f"engine{text}", (f"db{text}",), "db_hits.sto")
    made = result((Found(step, hits, 1.0), Found(step, hits, None, True)))
    return replace(made, recipe=f"small{text}")


def test_texts_of_files_are_only_text() -> None:
    calm, evil = search_html(evil_result("x")), search_html(evil_result(EVIL + CONTROLS))
    assert Elements(evil).tags == Elements(calm).tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in evil
    assert not any(each in evil for each in CONTROLS if not each.isprintable())
    assert r"\x1b[2J\u202e\x07" in evil


def test_a_name_of_the_query_is_only_text() -> None:
    made = given(many(3))
    calm = Elements(search_html(made)).tags
    made = given(many(3))
    object.__setattr__(made.query, "name", EVIL)
    assert Elements(search_html(made)).tags == calm


def test_the_policy_admits_this_script_and_no_request() -> None:
    elements = Elements(search_html(given(many(3))))
    rules = policy(elements)
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == [source(elements.scripts[-1].encode())]
    assert "connect-src" not in rules
    for tag, attributes in elements.tags:
        for name in ("src", "href"):
            value = attributes.get(name) or "data:"
            assert value.startswith("data:"), f"<{tag}> requests {value}"


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(tmp_path: Path, width: int) -> None:
    query = foldry.read_query(COMPLEX)
    hostile = rows("GIVEN", "GIVES", name=f"{EVIL} {'w' * 300} {CONTROLS}")
    query = replace(query, chains=(*query.chains, Chain(("C", "D"), "GIVEN", hostile)))
    first = query.chains[0].alignment
    assert first is not None
    made = SearchResult(query, "full", (searched(first, seconds=None), (), ()))
    page = write_search(made, tmp_path) / "search.html"
    with Page(width, 900) as opened:
        opened.open(page, "document.querySelectorAll('.coverage svg').length === 3")
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert opened.evaluate("document.querySelectorAll('.coverage image').length") == 6
        labels = "[...document.querySelectorAll('.chart')].map(each => each.ariaLabel)"
        assert opened.evaluate(labels)[0].startswith("Alignment of 39 sequences: between ")
        assert texts(opened, "h2")[1:] == ["Chain A", "Chain B", "Chains C and D"]
        box = opened.evaluate("""(() => {
          const plot = document.querySelector(".coverage image");
          plot.scrollIntoView({ block: "center" });
          const box = plot.getBoundingClientRect();
          return [box.left + box.width / 448, box.top + box.height / 2];
        })()""")
        opened.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
        read = texts(opened, ".readout")
        count = sum(row[0] != "-" for row in dict.fromkeys(first.sequences))
        assert read[0] == f"I1: {count} of 39 sequences have a residue here."
        assert read[1] == "Point at the plot to read its values."
        assert texts(opened, "section:last-of-type td")[0].startswith("</script><script>alert(1)")
        assert_silent(opened, page)
