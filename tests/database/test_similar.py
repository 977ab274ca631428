"""Search by sequence, structure and example, compared with MMseqs2's own search and TM-align."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from foldry.database import letters_3di, similar
from foldry.database.database import Database
from foldry.database.entry import Deposit, Entry, Facts, StoredModel
from foldry.database.filters import Filter
from foldry.database.segments import compact, current
from foldry.database.similar import (
    Similar,
    Wanted,
    similar_entries,
    similar_sequences,
    similar_structures,
)
from foldry.errors import InputError, MissingError
from foldry.formats.coordinates import read_structure
from foldry.formats.model_record import ModelChain, ModelRecord, Step
from foldry.processes.program import run_program
from foldry.search import mmseqs
from foldry.structure import Structure
from tests.conftest import ROOT

pytestmark = pytest.mark.tools

LIBRARY = ROOT / "examples" / "database" / "structures"
PROTEASES = ["1au8", "1azz", "1bru", "1dan", "1ekb", "1eq9", "1fiw", "1fjs", "1iau"]
DEHYDROGENASES = ["1a5z", "1b8p", "1guz", "1hyg", "1ldm", "5mdh"]


def longest_chain(path: Path) -> Structure:
    whole = read_structure(path)
    chain = whole.chain(max(whole.chains, key=lambda name: (whole.chain_id == name).sum()))
    known = chain.atom_mask[:, 1]
    chain = chain.select(known, name=path.name.partition(".")[0])
    size = len(chain)
    return replace(
        chain,
        residue_number=np.arange(1, size + 1),
        insertion_code=np.full(size, ""),
        chain_id=np.full(size, "A"),
        atom_positions=np.round(chain.atom_positions.astype(float), 3),
        b_factor=np.where(chain.atom_mask, 90.0, 0.0),
    )


def deposit_of(*chains: Structure, name: str = "", seed: int = 0) -> Deposit:
    """Return a prediction of an entry with one copy of each chain."""
    names = "ABCDEF"[: len(chains)]
    of_chains = [np.full(len(chain), n) for n, chain in zip(names, chains, strict=True)]
    joined = Structure(
        name="model",
        **{
            field.name: np.concatenate([getattr(chain, field.name) for chain in chains])
            for field in fields(Structure)[1:]
        },
    )
    joined = replace(joined, chain_id=np.concatenate(of_chains))
    record = ModelRecord(
        entry_id="model",
        title="model",
        structure=joined,
        chains=tuple(
            ModelChain((n,), chain.sequence) for n, chain in zip(names, chains, strict=True)
        ),
        plddt=np.full(len(joined), 90.0),
        model_name="mini",
        prediction=Step({"Foldry": "1.0"}, {}),
    )
    name = name or chains[0].name
    organism = "Homo sapiens" if name in PROTEASES else "Escherichia coli"
    return Deposit(
        model=StoredModel(record=record),
        tool="Foldry",
        name=name,
        content_key=f"{name} {seed}",
        facts=Facts(organism=organism),
    )


@pytest.fixture(scope="module")
def chains() -> dict[str, Structure]:
    return {path.name[:4]: longest_chain(path) for path in sorted(LIBRARY.glob("*.cif.gz"))}


@pytest.fixture(scope="module")
def library(
    chains: dict[str, Structure], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """The proteases and dehydrogenases of the examples; no test changes it."""
    if not mmseqs.is_here():
        pytest.skip("needs MMseqs2")
    place = tmp_path_factory.mktemp("similar") / "lab.db"
    with Database.create(place, provider="Example Lab") as made:
        made.publish([deposit_of(chain) for chain in chains.values()])
        yield made


@pytest.fixture
def empty(sqlite_database: Database) -> Database:
    if not mmseqs.is_here():
        pytest.skip("needs MMseqs2")
    return sqlite_database


def names(found: Similar) -> list[str]:
    return [hit.entry.name for hit in found.hits]


def easy_search(query: str, targets: dict[str, str], folder: Path) -> list[list[str]]:
    """Return the table of MMseqs2's own search of FASTA files."""
    fastas = [{"query": query}, targets]
    paths = [folder / "query.fasta", folder / "targets.fasta"]
    for path, records in zip(paths, fastas, strict=True):
        path.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    columns = "target,fident,qstart,qend,tstart,tend,bits,cigar,evalue,qcov,tcov"
    run_program(
        [
            *(mmseqs.find(similar._NEEDED), "easy-search", *map(str, paths), str(folder / "out")),
            *(str(folder / "tmp"), "--prefilter-mode", "1", "-e", "inf", "--max-seqs", "1000"),
            *("--format-output", columns, "-a", "1", "-v", "1"),
        ]
    )
    return [line.split("\t") for line in (folder / "out").read_text().splitlines()]


def test_hits_are_those_of_mmseqs(
    library: Database, chains: dict[str, Structure], tmp_path: Path
) -> None:
    query = read_structure(ROOT / "examples/trypsin/1trn.cif").sequence
    found = similar_sequences(library, query, Wanted(max_e_value=1e9))
    table = easy_search(query, {name: c.sequence for name, c in chains.items()}, tmp_path)
    expected = {row[0]: row[1:] for row in table}
    assert {*names(found)} == {*expected} >= {*PROTEASES}
    for hit in found.hits:
        identity, *places, bits, cigar, e_value, query_share, target_share = expected[
            hit.entry.name
        ]
        ours = [hit.query_start, hit.query_end, hit.target_start, hit.target_end]
        assert [*map(str, ours)] == places
        assert hit.cigar == cigar
        assert hit.bits == float(bits)
        assert hit.identity == pytest.approx(float(identity), abs=0.12)  # MMseqs2 counts gaps
        assert hit.query_coverage == pytest.approx(float(query_share), abs=0.001)
        assert hit.target_coverage == pytest.approx(float(target_share), abs=0.001)
        # MMseqs2 corrects for the ends of sequences, which makes the search space smaller.
        assert float(e_value) == 0 or -0.5 < np.log10(hit.e_value / float(e_value)) < 6
    assert [hit.bits for hit in found.hits] == sorted(
        (hit.bits for hit in found.hits), reverse=True
    )
    assert found.state == library.state
    assert found.num_chains == len(chains)


def test_structures_find_their_fold(library: Database, chains: dict[str, Structure]) -> None:
    trypsin = read_structure(ROOT / "examples/trypsin/1trn.cif")
    dimer = read_structure(ROOT / "examples/malate_dehydrogenase/1mld_AB.cif.gz")
    for query, family in ((trypsin, PROTEASES), (dimer.chain("A"), DEHYDROGENASES)):
        found = similar_structures(library, query)
        assert {*names(found)[: len(family)]} == {*family}
        scores = [hit.tm or 0 for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
        assert min(scores[: len(family)]) > 0.6
        assert max([0.0, *scores[len(family) :]]) < 0.4


def test_tm_scores_are_close_to_tm_align(library: Database, chains: dict[str, Structure]) -> None:
    tm_align = pytest.importorskip("tmtools").tm_align
    query = chains["1bru"]
    found = similar_structures(library, query)
    assert len(found.hits) >= len(PROTEASES)
    for hit in found.hits:
        target = chains[hit.entry.name]
        here, there = (each.atom_positions[:, 1].astype(float) for each in (query, target))
        best = tm_align(here, there, query.sequence, target.sequence)
        for ours, theirs in (
            (hit.query_tm, best.tm_norm_chain1),
            (hit.target_tm, best.tm_norm_chain2),
        ):
            assert ours is not None and ours <= theirs + 0.02, (
                "no alignment is better than the best"
            )
            if hit.entry.name in PROTEASES:
                assert ours > 0.9 * theirs
    itself = found.hits[0]
    assert itself.entry.name == "1bru"
    assert itself.query_tm == itself.target_tm == pytest.approx(1)
    assert (itself.identity, itself.cigar) == (1, f"{len(query)}M")


def test_an_entry_is_not_similar_to_itself(library: Database) -> None:
    entry = library.entry("1ldm")
    for by_structure in (False, True):
        found = similar_entries(library, entry, Wanted(limit=3), by_structure=by_structure)
        assert len(found.hits) == 3
        assert "1ldm" not in names(found)
        assert {*names(found)} <= {*DEHYDROGENASES}


def test_filters_choose_what_is_searched(library: Database, chains: dict[str, Structure]) -> None:
    query = chains["1bru"]
    searches: list[Callable[[Wanted], Similar]] = [
        lambda wanted: similar_sequences(library, query.sequence, wanted),
        lambda wanted: similar_structures(library, query, wanted),
    ]
    for search in searches:
        every = search(Wanted(max_e_value=1e9))
        human = search(Wanted(chosen=Filter(organism="Homo sapiens"), max_e_value=1e9))
        assert names(human) == [name for name in names(every) if name in PROTEASES]
        e_values = {hit.entry.key: hit.e_value for hit in every.hits}
        assert all(hit.e_value == e_values[hit.entry.key] for hit in human.hits)
        assert search(Wanted(chosen=Filter(organism="none"))).hits == ()
        assert names(search(Wanted(limit=2))) == names(every)[:2]
        assert all(hit.e_value <= 1e-30 for hit in search(Wanted(max_e_value=1e-30)).hits)


def test_changes_are_found_at_once(empty: Database, chains: dict[str, Structure]) -> None:
    one, other = chains["1bru"], chains["1ldm"]
    assert similar_sequences(empty, one.sequence).hits == ()
    empty.publish([deposit_of(one), deposit_of(other)])
    strict = Wanted(max_e_value=1e-10)
    assert names(similar_sequences(empty, one.sequence, strict)) == ["1bru"]
    empty.publish([deposit_of(chains["1ekb"])])
    assert names(similar_structures(empty, one, strict)) == ["1bru", "1ekb"]
    # A next version of another shape: what it was before is no longer found.
    straight = replace(one, atom_positions=one.atom_positions * np.array([1.0, 1.0, 0.1]))
    empty.publish([deposit_of(straight, seed=1)])
    found = similar_structures(empty, one)
    assert found.state == empty.state
    assert names(found)[0] == "1ekb"
    assert names(found).count("1bru") <= 1
    empty.withdraw("1ekb", "mixed up")
    assert "1ekb" not in names(similar_structures(empty, one))
    assert "1ekb" in names(
        similar_structures(empty, one, Wanted(chosen=Filter(with_withdrawn=True)))
    )
    compact(empty)
    empty.restore("1ekb")
    assert names(similar_structures(empty, one))[0] == "1ekb"


def test_each_chain_of_a_complex_is_found(empty: Database, chains: dict[str, Structure]) -> None:
    empty.publish([deposit_of(chains["1bru"], chains["1ldm"], name="both")])
    for name, place in (("1ekb", 0), ("1hyg", 1)):
        [hit] = similar_structures(empty, chains[name], Wanted(max_e_value=1e-20)).hits
        assert hit.entry.name == "both"
        assert hit.chain == hit.entry.chains[place]
        assert hit.target_tm is not None and hit.target_tm > 0.6
    both = empty.entry("both")
    assert similar_entries(empty, both, by_structure=True).hits == ()


def test_several_parts_are_searched_as_one(
    empty: Database, chains: dict[str, Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.database.segments._SMALL", 0)
    for number, chain in enumerate(chains.values()):
        empty.publish([deposit_of(chain)])
        if number % 4 == 3:
            similar_sequences(empty, chain.sequence)
    query = chains["1fjs"]
    with current(empty) as (_, generation):
        assert len(generation.parts) > 1
    before = [similar_sequences(empty, query.sequence), similar_structures(empty, query)]
    filtered = similar_structures(empty, query, Wanted(chosen=Filter(organism="Homo sapiens")))
    assert compact(empty)
    after = [similar_sequences(empty, query.sequence), similar_structures(empty, query)]
    for one, other in zip(before, after, strict=True):
        assert [_plain(hit.entry, hit.bits) for hit in one.hits] == [
            _plain(hit.entry, hit.bits) for hit in other.hits
        ]
    assert {*names(filtered)} == {*PROTEASES}


def _plain(entry: Entry, bits: float) -> tuple[str, float]:
    return entry.name, bits


@pytest.mark.parametrize("sequence", ["", "MKV1", "X" * 30, "MK-V", "MKTAYIAKQR" * 6554])
def test_wrong_sequences(sqlite_database: Database, sequence: str) -> None:
    with pytest.raises(InputError):
        similar_sequences(sqlite_database, sequence)


@pytest.mark.parametrize("sequence", ["M", "MK", "W" * 40, "MKTAYIAKQR" * 6553])
def test_extreme_sequences(library: Database, sequence: str) -> None:
    found = similar_sequences(library, sequence)
    assert all(hit.query_end <= len(sequence) for hit in found.hits)


def test_a_structure_of_several_chains_is_refused(sqlite_database: Database) -> None:
    dimer = read_structure(ROOT / "examples/malate_dehydrogenase/1mld_AB.cif.gz")
    with pytest.raises(
        InputError, match="has the chains A, B: search with one, named as in FILE:A"
    ):
        similar_structures(sqlite_database, dimer)


def test_without_mmseqs(library: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmseqs, "_programs", lambda: iter(()))
    with pytest.raises(MissingError, match="mmseqs is not installed: run `pip install"):
        similar_sequences(library, "MKTAYIAKQR")


def test_without_mini3di(library: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mini3di", None)
    letters_3di._encoder.cache_clear()
    with pytest.raises(MissingError, match="mini3di is not installed"):
        similar_structures(library, read_structure(ROOT / "examples/trypsin/1trn.cif"))
    letters_3di._encoder.cache_clear()


@pytest.mark.parametrize("values", [{"limit": 0}, {"limit": 1001}, {"max_e_value": float("nan")}])
def test_impossible_wishes(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Wanted(**values)  # type: ignore[arg-type]
