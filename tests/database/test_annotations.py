"""Annotations: UniProt, domains, residues, AlphaMissense and collections, each imported twice."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from Bio import SwissProt
from hypothesis import given
from hypothesis import strategies as st

from foldry.database import alphamissense
from foldry.database.annotation_files import Annotated, kind_of
from foldry.database.annotations import annotate, annotations_of, substitutions_csv
from foldry.database.collections import all_collections
from foldry.database.database import Database
from foldry.database.entry import Facts
from foldry.database.filters import Filter
from foldry.database.render import render
from foldry.database.uniprot import Protein, from_header, read_flat_file, read_headers
from foldry.errors import InputError
from foldry.formats.model_record import ModelChain, Reference
from tests.database.deposits import SEQUENCE, deposit, stored_model
from tests.database.deposits import sequence as sequence_of

FLAT = f"""\
ID   ABL1_MOUSE              Reviewed;          22 AA.
AC   P00520; P97896; Q61252;
AC   Q61254;
DT   21-JUL-1986, integrated into UniProtKB/Swiss-Prot.
DT   20-MAY-2008, sequence version 3.
DT   27-MAR-2024, entry version 240.
DE   RecName: Full=Tyrosine-protein kinase ABL1 {{ECO:0000305}};
DE            EC=2.7.10.2 {{ECO:0000269|PubMed:1, ECO:0000269|PubMed:2}};
DE   AltName: Full=Abelson murine leukemia viral oncogene homolog 1;
DE   AltName: Full=p150;
DE            Short=c-Abl;
DE   Contains:
DE     RecName: Full=Part of it;
DE   Flags: Precursor;
GN   Name=Abl1 {{ECO:0000312|MGI:MGI:87859}}; Synonyms=Abl, Abl2x;
GN   ORFNames=X1;
OS   Mus musculus (Mouse).
OC   Eukaryota; Metazoa; Chordata; Craniata; Vertebrata; Euteleostomi; Mammalia;
OC   Muridae; Murinae; Mus; Mus.
OX   NCBI_TaxID=10090 {{ECO:0000312|Proteomes:UP000000589}};
CC   -!- FUNCTION: Non-receptor tyrosine-protein kinase that plays a role in
CC       many key processes linked to cell growth and survival
CC       {{ECO:0000269|PubMed:9461559}}.
CC   -!- CATALYTIC ACTIVITY:
CC       Reaction=ATP + L-tyrosyl-[protein] = ADP + H(+);
CC         EC=2.7.10.2; Evidence={{ECO:0000255|PROSITE-ProRule:PRU10028}};
DR   Proteomes; UP000000589; Chromosome 2.
DR   GO; GO:0005737; C:cytoplasm; IDA:MGI.
DR   GO; GO:0003779; F:actin binding; IBA:GO_Central.
PE   1: Evidence at protein level;
KW   3D-structure; ATP-binding {{ECO:0000256|ARBA:ARBA00022840}}; Kinase;
KW   Reference proteome.
SQ   SEQUENCE   22 AA;  2600 MW;  A4E5D5F5C4A0E9B2 CRC64;
     {SEQUENCE[:10]} {SEQUENCE[10:20]} {SEQUENCE[20:]}
//
ID   A0A1_YEAST              Unreviewed;         3 AA.
AC   A0A023GPI8;
DT   05-OCT-2010, sequence version 1.
DE   SubName: Full=Something;
GN   OrderedLocusNames=YAL001C;
OS   Saccharomyces cerevisiae (strain ATCC 204508 / S288c) (Baker's yeast).
OX   NCBI_TaxID=559292;
SQ   SEQUENCE   3 AA;  300 MW;  A4E5D5F5C4A0E9B3 CRC64;
     MKT
//
"""
REFERENCE = Reference("P00520", code="ABL1_MOUSE", start=101, end=122)


def imported(database: Database, path: Path, text: str) -> tuple[list[InputError], Annotated]:
    """Import a text; return the errors and what was done."""
    path.write_text(text)
    *errors, done = annotate(database, path)
    assert isinstance(done, Annotated)
    assert all(isinstance(each, InputError) for each in errors)
    return [each for each in errors if isinstance(each, InputError)], done


_parse: Any = SwissProt.parse  # it has no types


def numbers(done: Annotated) -> tuple[int, int, int]:
    return done.num_new, done.num_same, done.num_unknown


def good(items: Iterable[Protein | InputError]) -> list[Protein]:
    found = [each for each in items if isinstance(each, Protein)]
    assert len(found) == 2
    return found


# UniProt


def test_flat_file_as_biopython_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.dat.gz"
    path.write_bytes(gzip.compress(FLAT.encode()))
    ours, theirs = good(read_flat_file(path)), list(_parse(io.StringIO(FLAT)))
    assert len(theirs) == 2
    for protein, record in zip(ours, theirs, strict=True):
        facts = protein.facts
        assert list(protein.accessions) == record.accessions
        assert facts.uniprot_id == record.entry_name
        assert facts.is_reviewed == (record.data_class == "Reviewed")
        assert facts.tax_id == int(record.taxonomy_id[0].split()[0])
        assert list(facts.lineage) == record.organism_classification
        assert record.organism.startswith(facts.organism)
        bare = [word.split(" {")[0] for word in record.keywords]
        assert list(facts.keywords) == bare
        terms = [f"{each[1]} {each[2]}" for each in record.cross_references if each[0] == "GO"]
        assert list(facts.go) == terms
        functions = [each[10:] for each in record.comments if each.startswith("FUNCTION: ")]
        assert facts.functions == tuple(f"{text.split(' {ECO')[0]}." for text in functions)
        for name in (facts.description, *facts.full_names, *facts.short_names, *facts.ec):
            assert f"={name}" in record.description
        [genes] = record.gene_name
        assert facts.gene == (genes.get("Name") or genes["OrderedLocusNames"][0]).split(" {")[0]


def test_what_a_flat_file_says(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_text(FLAT)
    mouse, yeast = good(read_flat_file(path))
    assert mouse.facts == Facts(
        description="Tyrosine-protein kinase ABL1",
        uniprot_id="ABL1_MOUSE",
        gene="Abl1",
        gene_synonyms=("Abl", "Abl2x", "X1"),
        organism="Mus musculus",
        organism_names=("Mouse",),
        tax_id=10090,
        lineage=mouse.facts.lineage,
        is_reviewed=True,
        is_reference_proteome=True,
        proteome="UP000000589",
        sequence_version_date="2008-05-20",
        full_names=("Abelson murine leukemia viral oncogene homolog 1", "p150"),
        short_names=("c-Abl",),
        keywords=("3D-structure", "ATP-binding", "Kinase", "Reference proteome"),
        functions=mouse.facts.functions,
        go=("GO:0005737 C:cytoplasm", "GO:0003779 F:actin binding"),
        ec=("2.7.10.2",),
    )
    assert mouse.facts.functions == (
        "Non-receptor tyrosine-protein kinase that plays a role in many key processes linked to "
        "cell growth and survival.",
    )
    assert yeast.facts.organism == "Saccharomyces cerevisiae (strain ATCC 204508 / S288c)"
    assert yeast.facts.organism_names == ("Baker's yeast",)
    assert (yeast.facts.gene, yeast.facts.is_reviewed) == ("YAL001C", False)


def test_bad_records_of_a_flat_file_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    no_accession = "ID   X_Y   Reviewed;  3 AA.\n//\n"
    wrong = "ID   X_Y   Reviewed;  3 AA.\nAC   ../../x;\n//\n"
    path.write_text(no_accession + FLAT + wrong + "ID   CUT_OFF   Reviewed; 3 AA.\n")
    found = list(read_flat_file(path))
    said = [str(each) for each in found if isinstance(each, InputError)]
    assert [isinstance(each, Protein) for each in found] == [False, True, True, False, False]
    assert "line 1, begins a record without an accession" in said[0]
    assert "'../../x' is not a UniProt accession" in said[1]
    assert "without the line //" in said[2]


@given(st.text(alphabet="ACDEGNORSWXKID/ =;.,{}()-\n\t0123456789é\0", max_size=400))
def test_any_text_is_read_as_a_flat_file(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.dat"
    path.write_text("ID   A_B Reviewed;\nAC   P00520;\n" + text, encoding="utf-8")
    for each in read_flat_file(path):
        assert isinstance(each, Protein | InputError)


@pytest.mark.parametrize(
    ("header", "accession", "facts"),
    [
        (
            "sp|P00520-4|ABL1_MOUSE Isoform 4 of it OS=Mus musculus OX=10090 GN=Abl1 PE=1 SV=3",
            "P00520-4",
            Facts(
                description="Isoform 4 of it",
                uniprot_id="ABL1_MOUSE",
                gene="Abl1",
                organism="Mus musculus",
                tax_id=10090,
                is_reviewed=True,
            ),
        ),
        (
            "AFDB:AF-A0A2L2JPH6-F1 Uncharacterized protein UA=A0A2L2JPH6 UI=A0A2L2JPH6_9NOCA "
            "OS=Nocardia cyriacigeorgica OX=135487 GN=C5B73_08745",
            "A0A2L2JPH6",
            Facts(
                description="Uncharacterized protein",
                uniprot_id="A0A2L2JPH6_9NOCA",
                gene="C5B73_08745",
                organism="Nocardia cyriacigeorgica",
                tax_id=135487,
            ),
        ),
        ("P00519", "P00519", Facts()),
        ("AFDB:AF-P00519-2-F1 Kinase", "P00519-2", Facts(description="Kinase")),
        (
            "tr|A0A023GPI8|A0A1_YEAST",
            "A0A023GPI8",
            Facts(uniprot_id="A0A1_YEAST", is_reviewed=False),
        ),
    ],
)
def test_headers(header: str, accession: str, facts: Facts) -> None:
    found = from_header(header, "a.fasta, line 1")
    assert isinstance(found, Protein)
    assert (found.accessions, found.facts) == ((accession,), facts)


def test_other_headers_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    path.write_text(">mine\nMKT\n>sp|P00520|ABL1_MOUSE Kinase OX=99999999999999\nMK\nT\n>\n")
    first, second, third = read_headers(path)
    assert isinstance(first, InputError) and "line 1, is 'mine'" in str(first)
    assert isinstance(second, Protein) and second.facts.tax_id is None
    assert isinstance(third, InputError)


def test_facts_reach_the_entries_and_come_twice_without_change(
    database: Database, tmp_path: Path
) -> None:
    database.publish(
        [
            deposit(accession="P00520", facts=Facts(description="old", keywords=("mine",))),
            deposit(accession="P97896", tool="Other"),  # a former accession
            deposit(name="other"),
        ]
    )
    errors, done = imported(database, tmp_path / "a.dat", FLAT)
    assert (errors, numbers(done), done.kind) == ([], (1, 0, 1), "uniprot")
    entry = database.entry("P00520")
    assert (entry.facts.description, entry.facts.gene) == ("Tyrosine-protein kinase ABL1", "Abl1")
    assert entry.facts.keywords[0] == "3D-structure" and entry.facts.proteome == "UP000000589"
    assert database.entry("P97896").facts.gene == "Abl1"
    assert database.entry("other").facts == Facts()
    state = database.state
    errors, done = imported(database, tmp_path / "a.dat", FLAT)
    assert (numbers(done), database.state) == ((0, 1, 1), state)
    header = ">sp|P00520|ABL1_MOUSE Kinase OS=Mus musculus\nMKT\n"
    assert numbers(imported(database, tmp_path / "a.fasta", header)[1]) == (1, 0, 0)
    after = database.entry("P00520").facts
    assert after == replace(entry.facts, description="Kinase")


MATURE, PROTEIN = "KAYIAKQRQISFVKSHFSRQWLE", "MVVLLAFCGSTPDE"


def flat(accession: str, sequence: str) -> str:
    """Return a record of a flat file."""
    lines = ("ID   X_HUMAN   Reviewed;", f"AC   {accession};", "DE   RecName: Full=Named;")
    return "\n".join((*lines, "SQ", f"     {sequence[:10]} {sequence[10:]}", "//\n"))


def test_facts_of_another_sequence_are_refused(database: Database, tmp_path: Path) -> None:
    """An accession that was given to two proteins names only the one with its sequence."""
    tagged = f"MGSSHHHHHH{MATURE[:9]}A{MATURE[10:]}"
    other = sequence_of(1)
    database.publish(
        [
            deposit(MATURE, accession="P10646", name="right"),
            deposit(other, accession="P10646", name="wrong"),
            deposit(tagged, accession="P10646", name="tagged", tool="X"),
            deposit(other, accession="P10646-2", name="isoform"),
        ]
    )
    wrong = database.entry("wrong").entry_id
    errors, done = imported(database, tmp_path / "a.dat", flat("P10646", f"MVVLL{MATURE}"))
    assert numbers(done) == (1, 0, 0)
    [error] = errors
    assert f"a.dat, line 1, begins a record of another sequence than that of {wrong}" in str(error)
    named = {each.name for each in database.entries() if each.facts.description}
    assert named == {"right", "tagged", "isoform"}
    errors, done = imported(database, tmp_path / "b.dat", flat("P10646", other))
    assert (len(errors), numbers(done)) == (2, (1, 0, 0))


def test_positions_count_in_the_sequence_of_the_flat_file(
    database: Database, tmp_path: Path
) -> None:
    database.publish([deposit(MATURE, accession="P07477", name="trypsin")])
    table = "id\tposition\tletter\n"
    at = {number: MATURE[number - 1] for number in (1, 9)}
    own = f"{table}P07477\t9\t{at[9]}\n"
    assert numbers(imported(database, tmp_path / "own.tsv", own)[1]) == (1, 0, 0)
    imported(database, tmp_path / "a.dat", flat("P07477", PROTEIN + MATURE))
    [chain] = database.entry("trypsin").chains
    first = len(PROTEIN) + 1
    assert chain.reference == Reference("P07477", start=first, end=len(PROTEIN + MATURE))
    rows = ((first, at[1]), (first + 8, at[9]), (9, at[9]))
    text = table + "".join(f"P07477\t{number}\t{letter}\n" for number, letter in rows)
    errors, done = imported(database, tmp_path / "u.tsv", text)
    assert numbers(done) == (2, 0, 0)
    assert "u.tsv, line 4, names residues that P07477 does not have" in str(errors[0])
    entry = database.entry("trypsin")
    cif = render(database, entry, entry.latest, "cif")
    assert cif is not None
    block = gemmi.cif.read_string(cif.decode()).sole_block()
    assert block.find_value("_ma_target_ref_db_details.seq_db_align_begin") == str(first)
    state = database.state
    imported(database, tmp_path / "a.dat", flat("P07477", PROTEIN + MATURE))
    assert database.state == state


def test_a_name_of_several_entries_is_refused(database: Database, tmp_path: Path) -> None:
    database.publish([deposit(name="1adz"), deposit(name="1adz", tool="X")])
    for text in (
        f"id\tposition\tletter\n1adz\t1\t{SEQUENCE[0]}\n",
        "collection;id\nkinases;1adz\n",
        "uniprot_id,protein_variant,am_pathogenicity,am_class\n1adz,M1A,0.5,ambiguous\n",
    ):
        errors, done = imported(database, tmp_path / "a.tsv", text)
        assert numbers(done) == (0, 0, 0)
        assert "is about '1adz', which 2 entries are called: give the id of one" in str(errors[0])


# Domains and residues


def test_domains_and_residues(database: Database, tmp_path: Path) -> None:
    at_101 = ModelChain(("A",), SEQUENCE, reference=REFERENCE)
    model = stored_model()
    fragment = replace(model, record=replace(model.record, chains=(at_101,)))
    database.publish([deposit(accession="P00520", model=fragment), deposit(name="mine")])
    domains = (
        "id\ttype\tstart\tend\tdescription\tsource\n"
        "# a comment\n"
        "mine\tDOMAIN\t3\t20\tA domain\tPfam\n"
        "P00520\t\t101\t122\tWhole\n"
        "P00520\tDOMAIN\t1\t20\tnot in the fragment\n"
        "mine\tDOMAIN\t3\t23\ttoo long\n"
        "mine\tDOMAIN\t9\t3\tbackwards\n"
        "nobody\tDOMAIN\t1\t2\n"
        "mine\tDOMAIN\tone\t2\n"
        "mine\tDOMAIN\t1\t2\ta\tb\tc\n"
    )
    errors, done = imported(database, tmp_path / "domains.tsv", domains)
    assert [int(str(each).split("line ")[1].split(",")[0]) for each in errors] == [
        5,
        6,
        7,
        8,
        9,
        10,
    ]
    assert "ends at residue 3, before its start 9" in str(errors[2])
    assert "has no valid number of a residue" in str(errors[4])
    assert numbers(done) == (2, 0, 0)
    residues = (
        "id,position,letter,type,value,unit,description\n"
        f'P00520,102,{SEQUENCE[1]},MUTAGEN,-1.5,kcal/mol,"Loses it, fully"\n'
        f"P00520,2,{SEQUENCE[1]},MUTAGEN,,,\n"
        "mine,1,W,SITE,,,\n"
        "mine,1,M,SITE,nan,,\n"
    )
    errors, done = imported(database, tmp_path / "residues.csv", residues)
    assert numbers(done) == (1, 0, 0)
    assert "line 4, has 'W' where" in str(errors[1]) and "'nan', which is not" in str(errors[2])
    [whole, site] = annotations_of(database, database.entry("P00520"))
    assert (whole.start, whole.end, whole.type) == (101, 122, "DOMAIN")
    assert (site.value, site.unit, site.description) == (-1.5, "kcal/mol", "Loses it, fully")
    assert annotations_of(database, database.entry("P00520"), "MUTAGEN") == [site]
    [mine] = annotations_of(database, database.entry("mine"))
    assert mine.subject == database.entry("mine").entry_id
    state = database.state
    assert numbers(imported(database, tmp_path / "domains.tsv", domains)[1]) == (0, 2, 0)
    assert database.state == state


# AlphaMissense


def table_of(sequence: str, seed: int) -> str:
    """Return a whole table as AlphaFold DB has it; classes by AlphaMissense's thresholds."""
    random = np.random.default_rng(seed)
    lines = ["protein_variant,am_pathogenicity,am_class"]
    for place, old in enumerate(sequence, start=1):
        for new in "ACDEFGHIKLMNPQRSTVWY".replace(old, ""):
            score = round(float(random.uniform()), 4)
            kind = "LBen" if score < 0.34 else "Amb" if score <= 0.564 else "LPath"
            lines.append(f"{old}{place}{new},{score},{kind}")
    return "\n".join(lines) + "\n"


def test_a_whole_table_comes_back_as_it_came(database: Database, tmp_path: Path) -> None:
    database.publish([deposit(accession="P00520"), deposit(accession="P00519")])
    text = table_of(SEQUENCE, 0)
    path = tmp_path / "AF-P00520-F1-aa-substitutions.csv"
    errors, done = imported(database, path, text)
    assert (errors, numbers(done)) == ([], (1, 0, 0))
    assert substitutions_csv(database, database.entry("P00520")) == text
    assert substitutions_csv(database, database.entry("P00519")) is None
    assert numbers(imported(database, path, text)[1]) == (0, 1, 0)
    some = "\n".join(text.splitlines()[:3])  # leaves the others
    assert numbers(imported(database, path, some)[1]) == (0, 1, 0)
    [first, *_] = csv.DictReader(io.StringIO(text))
    changed = f"protein_variant,am_pathogenicity,am_class\n{first['protein_variant']},1.0,LPath\n"
    assert numbers(imported(database, path, changed)[1]) == (1, 0, 0)
    found = substitutions_csv(database, database.entry("P00520"))
    assert found is not None
    assert (found.splitlines()[1], found.splitlines()[2:]) == (
        f"{first['protein_variant']},1.0,LPath",
        text.splitlines()[2:],
    )


def test_the_table_of_all_proteins(database: Database, tmp_path: Path) -> None:
    database.publish([deposit(accession="P00520")])
    path = tmp_path / "AlphaMissense_aa_substitutions.tsv.gz"
    rows = [
        "# Copyright",
        "uniprot_id\tprotein_variant\tam_pathogenicity\tam_class",
        "A0A023GPI8\tM1A\t0.3\tlikely_benign",
        "P00520\tM1A\t0.3104\tambiguous",
        "P00520\tW1A\t0.3\tambiguous",
        "P00520\tM23A\t0.3\tambiguous",
        "P00520\tM1\t0.3\tambiguous",
        "P00520\tM1C\t1.3\tambiguous",
        "P00520\tM1C\t0.3\tbad",
        "P00520\tK2A\t0.9\tlikely_pathogenic",
    ]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    *errors, done = annotate(database, path)
    assert isinstance(done, Annotated)
    assert [str(each).split("line ")[1].split(",")[0] for each in errors] == list("56789")
    assert numbers(done) == (1, 0, 1)
    assert substitutions_csv(database, database.entry("P00520")) == (
        "protein_variant,am_pathogenicity,am_class\nM1A,0.3104,Amb\nK2A,0.9,LPath\n"
    )


@given(st.integers(0, 100), st.text(alphabet="ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=30))
def test_packed_tables(seed: int, sequence: str) -> None:
    random = np.random.default_rng(seed)
    shape = len(sequence), 20
    table = alphamissense.Substitutions(
        sequence,
        random.integers(0, 10_001, shape).astype(np.uint16),
        random.integers(0, 3, shape).astype(np.uint8),
    )
    assert alphamissense.unpack(sequence, alphamissense.pack(table)) == table
    with pytest.raises(ValueError):
        alphamissense.unpack(sequence + "A", alphamissense.pack(table))
    with pytest.raises(ValueError):
        alphamissense.unpack(sequence, alphamissense.pack(table)[:-2])


# Collections, and any file


def test_collections(database: Database, tmp_path: Path) -> None:
    database.publish([deposit(name="one"), deposit(name="two", tool="Other")])
    text = (
        "collection;id;title;subjects;tags\n"
        "kinases;one;Our kinases;Signalling|Cancer;2026|done\n"
        "kinases;two\n"
        "kinases;three\n"
        ";one\n"
    )
    errors, done = imported(database, tmp_path / "c.csv", text)
    assert (len(errors), numbers(done), done.kind) == (2, (2, 0, 0), "collections")
    [found] = all_collections(database)
    assert (found.name, found.title, found.num_entries) == ("kinases", "Our kinases", 2)
    assert (found.subjects, found.tags) == (("Cancer", "Signalling"), ("2026", "done"))
    chosen = database.entries(chosen=Filter(collection="kinases"))
    assert [each.name for each in chosen] == ["one", "two"]
    state = database.state
    assert numbers(imported(database, tmp_path / "c.csv", text)[1]) == (0, 2, 0)
    assert database.state == state


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0\1\2", "<xml/>", "id,start\nx,1\n"])
def test_other_files_are_refused(sqlite_database: Database, tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="neither a file of UniProt nor a table"):
        list(annotate(sqlite_database, path))


def test_a_file_that_is_damaged_or_has_endless_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(b"id\tstart\tend\n" * 5000)[:-20])
    with pytest.raises(InputError, match="is a damaged gzip file"):
        kind_of(path)
        list(read_headers(path))
    path.write_bytes(gzip.compress(b"x" * 2_000_000))
    with pytest.raises(InputError, match="line 1, is too long"):
        kind_of(path)
    with pytest.raises(InputError, match="missing does not exist"):
        kind_of(tmp_path / "missing")
