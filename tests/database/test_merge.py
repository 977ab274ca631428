"""Copying one database into another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foldry.database.annotations import annotate
from foldry.database.database import Database
from foldry.database.entry import Facts, Published
from foldry.database.merge import copy_from
from foldry.database.schema import collected, collections, store
from foldry.database.verify import verify
from foldry.errors import InputError, OutsideError
from tests.database.conftest import Make
from tests.database.deposits import SEQUENCE, deposit, sequence, stored_model


def test_everything_is_copied_once(make_database: Make) -> None:
    source, target = make_database(provider="A"), make_database(provider="B")
    facts = Facts(description="A kinase", gene="Abl1", keywords=("Kinase",), tax_id=10090)
    rows = f">query\n{SEQUENCE}\n".encode()
    source.publish(
        [
            deposit(accession="P00520", facts=facts, alignments=(rows,), original=b"data_"),
            deposit(accession="P00520", seed=1, ensemble=(stored_model(seed=5),)),
            deposit([(sequence(1), 2), (sequence(2), 1)], name="complex"),
        ]
    )
    source.tag("P00520", ["mine"])
    source.withdraw("complex", "wrong partner")
    target.publish([deposit(sequence(9), name="own")])
    published = [each for each in copy_from(target, source) if isinstance(each, Published)]
    numbered = f"AF-{source.block}000000001"
    assert published == [
        Published("AF-P00520-F1", 1, True),
        Published("AF-P00520-F1", 2, True),
        Published(numbered, 1, True),
    ]
    for name in ("P00520", "complex"):
        old, new = source.entry(name), target.entry(name)
        assert (old.entry_id, old.facts, old.tags) == (new.entry_id, new.facts, new.tags)
        assert (old.provider, old.withdrawn, old.chains) == ("A", new.withdrawn, new.chains)
        for before, after in zip(old.versions, new.versions, strict=True):
            assert before.digests == after.digests
            assert before.mean_plddt == after.mean_plddt
            assert target.model(new, after.number) == source.model(old, before.number)
        assert target.alignments(new, 1) == source.alignments(old, 1)
    assert target.stored(target.entry("P00520").versions[0].original, "") == b"data_"
    state = target.state
    again = [replace(each, is_new=False) for each in published]
    assert list(copy_from(target, source)) == again
    assert target.state == state
    assert list(verify(target)) == []


def test_no_version_is_lost_where_numbers_are_equal(make_sqlite: Make) -> None:
    source, target = make_sqlite(), make_sqlite()
    source.publish([deposit(accession="P00520", seed=seed) for seed in (1, 2)])
    target.publish([deposit(accession="P00520", seed=seed) for seed in (3, 1)])
    published = list(copy_from(target, source))
    assert published == [
        Published("AF-P00520-F1", 2, False),
        Published("AF-P00520-F1", 3, True),
    ]
    models = [target.model(target.entry("P00520"), number) for number in (1, 2, 3)]
    assert models == [deposit(seed=seed).model for seed in (3, 1, 2)]


def test_a_damaged_version_is_reported_and_the_others_are_copied(make_sqlite: Make) -> None:
    source, target = make_sqlite(), make_sqlite()
    given = [deposit(seed=1), deposit(seed=2), deposit(sequence(3), name="alone", seed=3)]
    places = source.publish(given)
    source.tag("alone", ["mine"])
    for name, number in (("example", 1), ("alone", 1)):
        version = source.version(source.entry(name), number)
        source.objects.remove(version.digests)
    *copied, first, second = copy_from(target, source)
    assert copied == [Published(places[1].entry_id, 2, True)]
    assert "has a missing or damaged record" in str(first) and isinstance(second, OutsideError)
    assert list(verify(target)) == []
    source.publish(given)
    assert [each for each in copy_from(target, source) if isinstance(each, OutsideError)] == []
    assert [entry.tags for entry in target.entries()] == [(), ("mine",)]
    target.objects.remove(list(target.objects.digests()))
    list(copy_from(target, source))
    assert list(verify(target)) == [], "copying again restores missing objects"


def test_two_databases_that_allot_the_same_ids(make_sqlite: Make) -> None:
    source, target = make_sqlite(), make_sqlite()
    for database in (source, target):
        with database.writing() as connection:
            connection.execute(store.update().values(block=1_234_567))
        database.publish([deposit(sequence(0))])
    again = [Database.open(str(each.tables.place.folder)) for each in (target, source)]
    with pytest.raises(InputError, match=r"allots the same ids as .*lab1.db: copy into another"):
        list(copy_from(*again))
    for each in again:
        each.close()


def test_annotations_and_collections_are_copied(
    make_sqlite: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source, target = make_sqlite(), make_sqlite()
    source.publish([deposit(accession="P00520"), deposit(sequence(1), name="second")])
    folder = tmp_path_factory.mktemp("tables")
    domains, groups = folder / "domains.tsv", folder / "collections.tsv"
    domains.write_text("id\ttype\tstart\tend\tdescription\nP00520\tDOMAIN\t2\t9\tSH3\n")
    groups.write_text("collection\tid\nkinases\tP00520\n")
    for path in (domains, groups):
        errors = [each for each in annotate(source, path) if isinstance(each, InputError)]
        assert errors == []
    list(copy_from(target, source))
    for database in (source, target):
        with database.reading() as connection:
            [row] = connection.exec_driver_sql("SELECT subject, type, description FROM regions")
            assert tuple(row) == ("P00520", "DOMAIN", "SH3")
            [group] = connection.execute(collections.select())
            [member] = connection.execute(collected.select())
        assert group.name == "kinases"
        assert database.load([member.entries])[0].accession == "P00520"
    state = target.state
    list(copy_from(target, source))
    assert target.state == state
