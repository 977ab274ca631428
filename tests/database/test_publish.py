"""Which entry, which id and which version a prediction gets, on every kind of database."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from foldry.database.database import Database
from foldry.database.entry import Facts
from foldry.database.imports.run import import_paths
from foldry.database.letters_3di import letters_of_records
from foldry.database.render import file_name, render
from foldry.database.schema import chains as chain_rows
from foldry.database.schema import changes, sequences, store
from foldry.database.verify import verify
from foldry.errors import InputError
from foldry.formats.coordinates import to_pdb
from foldry.store.objects import ObjectStore
from tests.database.conftest import Make
from tests.database.deposits import SEQUENCE, deposit, sequence, stored_model
from tests.database.test_round_trip import DEPOSITS


def test_the_same_prediction_changes_nothing(database: Database) -> None:
    [first] = database.publish([deposit()])
    assert (first.version, first.is_new, database.state) == (1, True, 1)
    again = database.publish([deposit(), deposit()])
    assert again == [replace(first, is_new=False)] * 2
    assert database.state == 1
    assert len(list(database.objects.digests())) == 1


@pytest.mark.parametrize("damaged", [b"", None])
def test_publishing_again_restores_missing_and_damaged_objects(
    sqlite_database: Database, damaged: bytes | None
) -> None:
    assert isinstance(sqlite_database.objects, ObjectStore)
    given = deposit(ensemble=(stored_model(seed=7),), alignments=(b">q\nMKT\n",), original=b"data_")
    [first] = sqlite_database.publish([given])
    paths = sorted(sqlite_database.objects.folder.glob("??/*"))
    for path in paths:
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
    assert len(list(verify(sqlite_database))) == len(paths) == 4
    assert sqlite_database.publish([given]) == [replace(first, is_new=False)]
    assert list(verify(sqlite_database)) == []
    assert sqlite_database.state == 1


def test_objects_that_nothing_would_name_are_not_stored(database: Database) -> None:
    [first] = database.publish([deposit(version=1, ensemble=(stored_model(seed=7),))])
    before = set(database.objects.digests())
    retitled = replace(deposit().model, record=replace(deposit().model.record, title="another"))
    again = deposit(model=retitled, version=1, content_key="a file", alignments=(b">q\nMKT\n",))
    assert database.publish([again]) == [replace(first, is_new=False)]
    assert set(database.objects.digests()) == before


def test_importing_again_restores_objects(sqlite_database: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    path.write_text(to_pdb(stored_model().record.structure))
    [first] = import_paths(sqlite_database, [path])
    assert isinstance(sqlite_database.objects, ObjectStore)
    [stored] = sqlite_database.objects.folder.glob("??/*")
    stored.write_bytes(b"damaged")
    [again] = import_paths(sqlite_database, [path])
    assert first.published and again.published == replace(first.published, is_new=False)
    assert list(verify(sqlite_database)) == []


RENDERED = {**DEPOSITS, "another provider": deposit(accession="P00520", provider="Another Lab")}


@pytest.mark.parametrize("kinds", [("cif", "pae"), ("bcif",)])
@pytest.mark.parametrize("name", RENDERED)
def test_rendered_files_change_nothing_in_their_database(
    name: str, kinds: tuple[str, ...], sqlite_database: Database, tmp_path: Path
) -> None:
    published = sqlite_database.publish([RENDERED[name], deposit(sequence(9))])
    entry = sqlite_database.entry(published[0].entry_id)
    paths = [tmp_path / file_name(entry, entry.latest, kind) for kind in kinds]
    files = [render(sqlite_database, entry, entry.latest, kind) for kind in kinds]
    pairs = [(path, data) for path, data in zip(paths, files, strict=True) if data is not None]
    for path, data in pairs:
        path.write_bytes(data)
    before = set(sqlite_database.objects.digests())
    [outcome] = import_paths(sqlite_database, [path for path, _ in pairs])
    assert outcome.published == replace(published[0], is_new=False), outcome.problem
    assert sqlite_database.state == 1
    assert set(sqlite_database.objects.digests()) == before


def test_another_content_key_is_the_next_version(database: Database) -> None:
    published = database.publish([deposit(seed=seed) for seed in range(3)])
    published += database.publish([deposit(seed=seed) for seed in range(2, 5)])
    assert [each.version for each in published] == [1, 2, 3, 3, 4, 5]
    assert len({each.entry_id for each in published}) == 1
    [entry] = database.find(published[0].entry_id)
    assert [each.number for each in entry.versions] == [1, 2, 3, 4, 5]
    assert [each.state for each in entry.versions] == [1, 1, 1, 2, 2]
    for version in entry.versions:
        model = database.model(entry, version.number)
        assert model == deposit(seed=version.number - 1).model


@pytest.mark.parametrize(
    "other",
    [
        {"tool": "ColabFold"},
        {"provider": "Another Lab"},
        {"accession": "P12345"},
        {"chains": [(SEQUENCE, 2)]},
        {"chains": [(SEQUENCE, 1), ("GATTACA", 1)]},
    ],
)
def test_what_makes_another_entry(sqlite_database: Database, other: dict[str, object]) -> None:
    [first, second] = sqlite_database.publish([deposit(), deposit(**other)])  # type: ignore[arg-type]
    assert first.entry_id != second.entry_id
    assert second.version == 1


@pytest.mark.parametrize(
    "other",
    [
        [(sequence(2, 30), 2), (sequence(1, 40), 1)],
        [(sequence(2, 30), 1), (sequence(1, 40), 1), (sequence(2, 30), 1)],
    ],
)
def test_order_and_grouping_of_chains_do_not_make_another_entry(
    database: Database, other: list[tuple[str, int]]
) -> None:
    chains = [(sequence(1, 40), 1), (sequence(2, 30), 2)]
    [first, second] = database.publish([deposit(chains), deposit(other, content_key="other")])
    assert (second.entry_id, second.version) == (first.entry_id, 2)
    [third] = database.publish([deposit(other, content_key="third", seed=3)])
    assert (third.entry_id, third.version) == (first.entry_id, 3)
    with database.reading() as connection:
        rows = connection.execute(sa.select(chain_rows.c.letters_3di, sequences).join(sequences))
        assert {len(row.letters_3di) - row.length for row in rows} == {0}
    assert list(verify(database)) == []


def test_3di_letters_are_those_of_the_latest_version(database: Database) -> None:
    models = [stored_model([(sequence(1, 40), 1)], seed=seed) for seed in range(3)]
    given = [deposit(model=model, content_key=str(n)) for n, model in enumerate(models)]

    def letters() -> str:
        with database.reading() as connection:
            return str(connection.scalar(sa.select(chain_rows.c.letters_3di)))

    expected = [each for [each] in letters_of_records([model.record for model in models])]
    database.publish(given[:2])
    assert letters() == expected[1] != expected[0]
    database.publish(given[2:])
    assert letters() == expected[2]


def test_numbered_ids_begin_with_the_digits_of_the_database(database: Database) -> None:
    published = database.publish([deposit(sequence(seed)) for seed in range(3)])
    names = [each.entry_id for each in published]
    assert names == [f"AF-{database.block}{number:09d}" for number in (1, 2, 3)]
    assert 1_000_000 <= database.block <= 9_999_999


def test_databases_draw_their_digits_at_random(make_sqlite: Make) -> None:
    assert len({make_sqlite().block for _ in range(4)}) > 1


def test_an_accession_gives_the_id(database: Database) -> None:
    deposits = [
        deposit(sequence(1), accession="p00520"),
        deposit(sequence(2), accession="P00520-4"),
        deposit(sequence(3), accession="P00520", fragment=2),
        deposit(sequence(4), entry_id="AF-Q9H0H5-F1"),
        deposit(sequence(1), accession="P00520", tool="ColabFold"),
        deposit(sequence(5), accession="P00520"),  # another sequence: UniProt changed it
    ]
    names = [each.entry_id for each in database.publish(deposits)]
    assert names[:4] == ["AF-P00520-F1", "AF-P00520-4-F1", "AF-P00520-F2", "AF-Q9H0H5-F1"]
    assert [bool(re.fullmatch(r"AF-\d{16}", name)) for name in names[4:]] == [True, True]
    assert [each.entry_id for each in database.publish(deposits)] == names


def test_an_imported_file_keeps_its_version(database: Database) -> None:
    imported = deposit(accession="P00520", version=4, content_key="file")
    later = deposit(accession="P00520", content_key="seed 1")
    earlier = deposit(accession="P00520", version=2, content_key="older file", seed=2)
    assert [each.version for each in database.publish([imported, later, earlier])] == [4, 5, 2]
    entry = database.entry("P00520")
    assert [each.number for each in entry.versions] == [2, 4, 5]
    assert entry.latest.content_key == "seed 1"


def test_a_version_is_never_replaced(database: Database) -> None:
    database.publish([deposit(version=4, content_key="one")])
    with pytest.raises(InputError, match="has another prediction as version 4: publish this one"):
        database.publish([deposit(sequence(1)), deposit(seed=1, version=4, content_key="another")])
    assert (database.num_entries, database.state) == (1, 1)
    # The same model with another key is what an export brings back.
    [again] = database.publish([deposit(version=4, content_key="its file")])
    assert (again.version, again.is_new) == (4, False)


def test_a_numbered_id_of_another_database_is_kept(make_sqlite: Make) -> None:
    database = make_sqlite()
    foreign = f"AF-{1_000_000 if database.block != 1_000_000 else 1_000_001}000000007"
    [first] = database.publish([deposit(entry_id=foreign)])
    [second] = database.publish([deposit(seed=1)])
    assert (first.entry_id, second.entry_id, second.version) == (foreign, foreign, 2)
    own = f"AF-{database.block}000000001"
    with pytest.raises(InputError, match=f"{own} belongs to another database"):
        database.publish([deposit(sequence(1), entry_id=own)])


def test_the_ensemble_and_the_alignments_are_kept(database: Database) -> None:
    others = tuple(stored_model(seed=seed) for seed in (7, 8))
    rows = f">query\n{SEQUENCE}\n".encode()
    given = deposit(ensemble=others, alignments=(rows,), original=b"data_x")
    [first] = database.publish([given])
    entry = database.entry(first.entry_id)
    models = [database.model(entry, rank=rank) for rank in range(3)]
    assert models == [given.model, *others]
    assert database.alignments(entry) == [rows]
    assert database.stored(entry.latest.original, entry.entry_id) == b"data_x"
    with pytest.raises(InputError, match="has no model of rank 3: the last one is 2"):
        database.model(entry, rank=3)
    with pytest.raises(InputError, match="has no version 2: the latest is 1"):
        database.model(entry, 2)


def test_what_is_said_about_an_entry_comes_back(database: Database) -> None:
    facts = Facts(
        description="Tyrosine-protein kinase ABL1\0 \ud800",
        uniprot_id="ABL1_MOUSE",
        gene="Abl1",
        gene_synonyms=("Abl",),
        organism="Mus musculus",
        tax_id=10090,
        is_reviewed=True,
        keywords=("Kinase", "ATP-binding"),
    )
    model = stored_model([(sequence(1), 2), (sequence(2), 1)])
    database.publish([deposit(model=model, facts=facts, name="my/complex of <b>two</b>")])
    entry = database.entry("my_complex_of_b_two_b")
    assert entry.facts == replace(facts, description="Tyrosine-protein kinase ABL1 ?")
    assert entry.chains == model.record.chains
    assert entry.is_complex
    assert entry.num_residues == 180
    assert entry.latest.mean_plddt == pytest.approx(model.record.plddt.mean())
    shares = [((model.record.plddt >= low) & (model.record.plddt < high)).mean()
              for low, high in ((0, 50), (50, 70), (70, 90), (90, 101))]  # fmt: skip
    assert entry.latest.fractions == pytest.approx(tuple(shares))
    assert entry.latest.scores == {"ptm": 0.5}
    assert entry.latest.tool_version == "1.0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accession": "kinase"}, "'kinase' is not a UniProt accession"),
        ({"fragment": 0}, "0 is not a number of a fragment"),
        ({"version": 0}, "0 is not a number of a version"),
        ({"version": 10**30}, "is not a number of a version"),
        ({"entry_id": "../../etc"}, "'../../etc' is not an id of an entry"),
        ({"accession": "P12345", "entry_id": "AF-P12346-F1"}, "is not the id of P12345"),
        ({"facts": Facts(tax_id=2**40)}, "1099511627776 is not a taxonomy number"),
    ],
)
def test_a_bad_deposit_is_refused_in_a_sentence(
    sqlite_database: Database, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sqlite_database.publish([deposit(sequence(1)), deposit(**fields)])  # type: ignore[arg-type]
    assert (sqlite_database.num_entries, sqlite_database.state) == (0, 0)


@pytest.mark.parametrize("value", [np.nan, -0.01, 100.01, np.inf])
def test_plddt_must_be_plddt(sqlite_database: Database, value: float) -> None:
    model = stored_model()
    plddt = model.record.plddt.copy()
    plddt[3] = value
    bad = replace(model, record=replace(model.record, plddt=plddt))
    with pytest.raises(InputError, match="has pLDDT outside 0 to 100"):
        sqlite_database.publish([deposit(model=bad)])


def test_sequences_are_shared(database: Database) -> None:
    database.publish([deposit(tool=tool) for tool in ("A", "B", "C")])
    with database.reading() as connection:
        [row] = connection.execute(sequences.select()).all()
    # Computed by `md5sum`, Biopython's `crc64` and `sha256sum`.
    assert row.md5 == "cfbd03aae5e619bfa52873996d0e4c34"
    assert row.crc64 == "B0947C4BDFFF1FE5"
    assert row.sha256 == "3d543420ab3676702f7ead6aca7dcd588b6fc5f1ac71be5da55216d828f5f60b"


def test_every_change_is_logged_with_its_number(database: Database) -> None:
    [first] = database.publish([deposit(), deposit(sequence(1))])[:1]
    database.tag(first.entry_id, ["a"])
    database.withdraw(first.entry_id, "wrong construct")
    database.restore(first.entry_id)
    with database.reading() as connection:
        rows = connection.execute(sa.select(changes).order_by(changes.c.key)).all()
    assert [(row.state, row.what, row.reason) for row in rows] == [
        (1, "published", ""),
        (1, "published", ""),
        (2, "tagged", ""),
        (3, "withdrawn", "wrong construct"),
        (4, "restored", ""),
    ]
    assert database.state == 4


def test_numbers_of_entries_are_not_used_again(sqlite_database: Database) -> None:
    sqlite_database.publish([deposit()])
    with sqlite_database.reading() as connection:
        row = connection.execute(store.select()).one()
    assert (row.counted, row.last_entry) == (1, 1)
    with sqlite_database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM models")
        connection.exec_driver_sql("DELETE FROM versions")
        connection.exec_driver_sql("DELETE FROM entries")
    [second] = sqlite_database.publish([deposit()])
    assert second.entry_id.endswith("2")
    assert sqlite_database.entry(second.entry_id).key == 2
