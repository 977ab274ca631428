"""Export: files, zip, AlphaFold DB's bulk layout and the Integration Kit's."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from foldry.database import bulk
from foldry.database import selection as selections
from foldry.database.annotation_files import Annotated
from foldry.database.annotations import annotate
from foldry.database.database import Database
from foldry.database.entry import Deposit, Facts
from foldry.database.export import export
from foldry.database.filters import Filter
from foldry.database.selection import Exported, Selection, select
from foldry.errors import BusyError, InputError
from foldry.formats.model_record import Reference
from foldry.formats.modelcif_read import read_modelcif
from foldry.store.files import write_bytes
from foldry.store.locks import hold
from tests.database.deposits import SEQUENCE, deposit, stored_model

MOUSE = Facts(
    description="Tyrosine-protein kinase ABL1",
    uniprot_id="ABL1_MOUSE",
    gene="Abl1",
    organism="Mus musculus",
    tax_id=10090,
    is_reviewed=True,
    is_reference_proteome=True,
    proteome="UP000000589",
    sequence_version_date="2008-05-20",
)
ALIGNMENT = f">query\n{SEQUENCE}\n".encode()


def deposits() -> list[Deposit]:
    """A mouse protein with two versions, its isoform, an own protein and a complex."""
    dimer = deposit([(SEQUENCE, 2), ("MKVLAAGIVG", 1)], name="complex", seed=4)
    first, second = dimer.model.record.chains
    reference = Reference("P00519", code="ABL1_HUMAN", start=5, organism="Homo sapiens")
    chains = (replace(first, reference=reference, description="Kinase"), second)
    record = replace(dimer.model.record, chains=chains, scores={"iptm": 0.7, "ptm": 0.5})
    return [
        deposit(accession="P00520", facts=MOUSE, alignments=(ALIGNMENT,)),
        deposit(accession="P00520", facts=MOUSE, seed=1),
        deposit(accession="P00520-2", facts=replace(MOUSE, description="Isoform 2"), seed=2),
        deposit("MKVLAAGIVGX", name="=mine", seed=3, alignments=(b">q\nMKVLAAGIVGX\n",)),
        replace(
            dimer,
            model=replace(dimer.model, record=record),
            alignments=(ALIGNMENT, b">q\nMKVLAAGIVG\n"),
        ),
    ]


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    sqlite_database.publish(deposits())
    return sqlite_database


def exported(
    database: Database, out: Path, layout: str, names: Sequence[str] = (), **chosen: Any
) -> Exported:
    selection = replace(select(database, Filter(), names), **chosen)
    calls: list[tuple[int, int]] = []
    done = export(database, selection, out, layout, lambda *each: calls.append(each))
    assert calls[-1] == (len(selection.keys), len(selection.keys))
    return done


def tree(folder: Path) -> dict[str, bytes]:
    paths = sorted(each for each in folder.rglob("*") if each.is_file())
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in paths}


# What is chosen


def test_entries_are_chosen_by_name_words_or_filter(database: Database) -> None:
    def keys(chosen: Filter, *names: str, **words: str) -> list[int]:
        return list(select(database, chosen, names, **words).keys)

    assert keys(Filter()) == [1, 2, 3, 4]
    assert keys(Filter(), "complex", "P00520-2") == [4, 2]
    assert keys(Filter(), "AF-P00520-F1-v1") == [1]
    assert select(database, Filter(), ["AF-P00520-F1-v1"]).versions == {1: {1}}
    assert keys(Filter(), words="isoform") == [2]
    assert keys(Filter(is_complex=True)) == [4]
    assert keys(Filter(is_complex=True), "P00520") == []
    for name, said in (("nobody", "no entry"), ("P00520-v9", "has no version 9")):
        with pytest.raises(InputError, match=said):
            select(database, Filter(), [name])
    database.withdraw("complex", "a mistake")
    assert keys(Filter()) == [1, 2, 3]
    with pytest.raises(InputError, match=r"is withdrawn \(a mistake\)"):
        select(database, Filter(), ["complex"])
    assert keys(Filter(with_withdrawn=True), "complex") == [4]


def test_a_wrong_choice_is_refused(database: Database, tmp_path: Path) -> None:
    for selection, layout, said in (
        (Selection(keys=[], state=9), "files", "has no such entry"),
        (Selection(keys=[1], state=9), "cd", "is not a `format`"),
    ):
        with pytest.raises(InputError, match=said):
            export(database, selection, tmp_path / "out", layout, lambda *_: None)
    with pytest.raises(InputError, match="is not a kind of file"):
        Selection(keys=[1], state=9, kinds=("exe",))
    place = database.tables.place.folder
    assert place is not None
    before = tree(place)
    for out, layout in ((place, "files"), (place / "new", "afdb"), (place / "x.zip", "zip")):
        with pytest.raises(InputError, match="is in the folder of a database"):
            exported(database, out, layout)
    assert tree(place) == before
    with hold(tmp_path / "busy"), pytest.raises(BusyError):
        exported(database, tmp_path / "busy", "files")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["files", "zip", "afdb", "kit"])
def test_what_is_published_meanwhile_is_not_exported(
    database: Database, tmp_path: Path, layout: str
) -> None:
    chosen = select(database, Filter())
    database.publish([deposit(accession="P00520", seed=9), deposit("MKV", name="new")])
    database.publish([deposit("MKVLAAGIVGX", name="=mine", seed=9, alignments=(ALIGNMENT,))])
    done = export(database, chosen, tmp_path / "out", layout, lambda *_: None)
    assert done.num_entries == (4 if layout != "kit" else 2)
    written = tree(tmp_path)
    if layout == "zip":
        with zipfile.ZipFile(tmp_path / "out") as archive:
            written = {name: archive.read(name) for name in archive.namelist()}
    names = "".join(written)
    for name, data in written.items():
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                names += "".join(tar.getnames())
    assert "_v1" in names.replace("-v1", "_v1")
    assert "v3" not in names and ("v2" in names) == (layout != "kit")
    if layout == "kit":
        every = json.loads(written["out/AF-metadata-1-of-1.json"])
        assert {tuple(each["allVersions"]) for each in every} == {(1,)}


# Files and zip


def test_files(database: Database, tmp_path: Path) -> None:
    done = exported(database, tmp_path / "out", "files", all_versions=True)
    names = tree(tmp_path / "out")
    assert (done.num_entries, done.num_files, done.left_out) == (4, len(names), [])
    assert {name for name in names if name.startswith("AF-P00520-F1-")} == {
        *(f"AF-P00520-F1-model_v{v}.{kind}" for v in (1, 2) for kind in ("cif", "bcif", "pdb")),
        *(f"AF-P00520-F1-confidence_v{v}.json" for v in (1, 2)),
        *(
            f"AF-P00520-F1-predicted_aligned_error_v{v}.{kind}"
            for v in (1, 2)
            for kind in ("json", "png")
        ),
        "AF-P00520-F1-msa_v1.a3m",
    }
    exported(database, tmp_path / "some", "files", ["P00520-v1"], kinds=("pdb",))
    assert tree(tmp_path / "some") == {
        "AF-P00520-F1-model_v1.pdb": names["AF-P00520-F1-model_v1.pdb"]
    }
    both = ["AF-P00520-F1-v2", "P00520-v1", "P00520-2"]
    exported(database, tmp_path / "both", "files", both, kinds=("pdb",))
    assert set(tree(tmp_path / "both")) == {
        *(f"AF-P00520-F1-model_v{v}.pdb" for v in (1, 2)),
        "AF-P00520-2-F1-model_v1.pdb",
    }


def test_originals(sqlite_database: Database, tmp_path: Path) -> None:
    for seed, (data, suffix) in enumerate(
        [
            (b"data_x\n", ".cif"),
            (b"# By using this file you agree\n# to the terms\ndata_x\n", ".cif"),
            (b"ATOM\n", ".pdb"),
            ("REMARK Jos\xe9\nATOM\n".encode(), ".pdb"),
            (b"\x84\xa7", ".bcif"),
            (b"\x1f\x8b", ".gz"),
        ]
    ):
        sqlite_database.publish([deposit(seed=seed, original=data)])
        name = f"example-v{seed + 1}"
        exported(sqlite_database, tmp_path / name, "files", [name], kinds=("original", "cif"))
        files = tree(tmp_path / name)
        entry_id = sqlite_database.entry("example").entry_id
        assert files[f"{entry_id}-original_v{seed + 1}{suffix}"] == data and len(files) == 2


def test_annotations_are_exported(database: Database, tmp_path: Path) -> None:
    scores = tmp_path / "AF-P00520-F1-aa-substitutions.csv"
    scores.write_text("protein_variant,am_pathogenicity,am_class\nM1A,0.3104,LBen\n")
    table = tmp_path / "domains.tsv"
    table.write_text("id\tstart\tend\nP00520\t2\t9\n")
    for path in (scores, table):
        assert [type(each) for each in annotate(database, path)] == [Annotated]
    exported(database, tmp_path / "out", "files", ["P00520"], all_versions=True)
    assert (tmp_path / "out" / scores.name).read_text() == scores.read_text()
    exported(database, tmp_path / "a.zip", "zip", ["P00520"])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        [note] = json.loads(archive.read("entries/AF-P00520-F1.json"))["annotations"]
        assert f"files/{scores.name}" in archive.namelist()
    assert (note["subject"], note["start"], note["end"]) == ("P00520", 2, 9)


def test_zip_has_provenance_and_checksums(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "lab.zip"
    exported(database, out, "zip", kinds=("cif",), all_versions=True)
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    sums = [line.split("  ") for line in members.pop("SHA256SUMS").decode().splitlines()]
    assert {name: hashlib.sha256(data).hexdigest() for name, data in members.items()} == {
        name: digest for digest, name in sums
    }
    entry = json.loads(members["entries/AF-P00520-F1.json"])
    assert [each["number"] for each in entry["versions"]] == [1, 2]
    made = json.loads(members["provenance/AF-P00520-F1_v2.json"])
    assert made["content_key"] == "key of seed 1"
    assert made["prediction"] == {"versions": {"Foldry": "1.0"}, "parameters": {"seed": 1}}
    again = tmp_path / "again.zip"
    exported(database, again, "zip", kinds=("cif",), all_versions=True)
    assert again.read_bytes() == out.read_bytes()


def test_a_damaged_record_is_left_out(database: Database, tmp_path: Path) -> None:
    entry = database.entry("P00520")
    folder = database.search_folder
    assert folder is not None
    digest = entry.latest.digests[0]
    path = folder.parent / "objects" / digest[:2] / digest[2:]
    write_bytes(path, b"damaged")
    for layout in ("files", "zip", "afdb"):
        done = exported(database, tmp_path / layout, layout)
        [error] = done.left_out
        assert done.num_entries == 3
        assert "AF-P00520-F1 has a missing or damaged record" in str(error)


# AlphaFold DB


def test_bulk_layout(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "bulk"
    done = exported(database, out, "afdb")
    assert (done.num_entries, done.num_files) == (4, 5)
    files = tree(out)
    mouse, lab = "UP000000589_10090_MOUSE_v2.tar", "Example_Lab_v1.tar"
    assert set(files) == {
        mouse,
        lab,
        "sequences.fasta",
        "accession_ids.csv",
        "download_metadata.json",
    }
    listed = {each["archive_name"]: each for each in json.loads(files["download_metadata.json"])}
    for name in (mouse, lab):
        assert listed[name]["size_bytes"] == len(files[name])
        assert listed[name]["sha256"] == hashlib.sha256(files[name]).hexdigest()
    assert listed[mouse]["reference_proteome"] == "UP000000589"
    assert (listed[mouse]["species"], listed[mouse]["type"]) == ("Mus musculus", "proteome")
    assert listed[mouse]["num_predicted_structures"] == 2
    exported(database, tmp_path / "files", "files")
    plain = tree(tmp_path / "files")
    with tarfile.open(out / mouse) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None and member.mtime == 0
            assert gzip.decompress(file.read()) == plain[member.name.removesuffix(".gz")]
        kinds = (
            "model_v2.cif",
            "model_v2.pdb",
            "confidence_v2.json",
            "predicted_aligned_error_v2.json",
        )
        assert {name for name in tar.getnames() if "F1-" in name and "-2-" not in name} == {
            f"AF-P00520-F1-{kind}.gz" for kind in kinds
        }
    rows = list(csv.reader(io.StringIO(files["accession_ids.csv"].decode())))
    own = database.entry("complex").entry_id
    mine = own[:-1] + "1"
    assert rows == [
        ["P00520", "1", "22", "AF-P00520-F1", "2"],
        ["P00520-2", "1", "22", "AF-P00520-2-F1", "1"],
        ["mine", "1", "11", mine, "1"],
        ["P00519", "5", "26", own, "1"],
        ["complex", "1", "10", own, "1"],
    ]
    headers = [line for line in files["sequences.fasta"].decode().splitlines() if line[0] == ">"]
    assert headers == [
        ">AFDB:AF-P00520-F1 Tyrosine-protein kinase ABL1 UA=P00520 UI=ABL1_MOUSE OS=Mus musculus "
        "OX=10090 GN=Abl1",
        ">AFDB:AF-P00520-2-F1 Isoform 2 UA=P00520-2 UI=ABL1_MOUSE OS=Mus musculus OX=10090 GN=Abl1",
        f">AFDB:{mine} mine",
        f">AFDB:{own}_A Kinase UA=P00519 UI=ABL1_HUMAN OS=Homo sapiens",
        f">AFDB:{own}_C complex",
    ]


def test_lists_say_what_the_files_of_a_homodimer_say(
    sqlite_database: Database, tmp_path: Path
) -> None:
    dimer = deposit([(SEQUENCE, 2)], accession="P00520-2", facts=replace(MOUSE, description=""))
    sqlite_database.publish([dimer])
    exported(sqlite_database, tmp_path / "bulk", "afdb")
    header = (tmp_path / "bulk" / "sequences.fasta").read_text().splitlines()[0]
    rows = (tmp_path / "bulk" / "accession_ids.csv").read_text().splitlines()
    assert rows == ["P00520-2,1,22,AF-P00520-2-F1,1"]
    exported(sqlite_database, tmp_path / "files", "files", kinds=("cif",))
    [path] = (tmp_path / "files").glob("*.cif")
    [chain] = read_modelcif(path.read_bytes(), path.name).chains
    known = chain.reference
    assert known is not None
    assert header == (
        f">AFDB:AF-P00520-2-F1_A example UA={known.isoform} UI={known.code} OS={known.organism} "
        f"OX={known.tax_id} GN={known.gene}"
    )
    assert known.version_date == MOUSE.sequence_version_date


def test_names_and_texts_cannot_leave_their_place(
    sqlite_database: Database, tmp_path: Path
) -> None:
    awkward = "../../x\n>evil\x1b[2J"
    hostile = Facts(
        description=awkward,
        uniprot_id=f"ABL1_{awkward}",
        gene=awkward,
        organism=awkward,
        proteome=awkward,
    )
    sqlite_database.publish([deposit(facts=hostile)])
    model = stored_model([(SEQUENCE, 2)])
    [chain] = model.record.chains
    structure = replace(model.record.structure, chain_id=np.repeat(["A\n>B", "C"], len(SEQUENCE)))
    chain = replace(chain, ids=("A\n>B", "C"), description=awkward)
    record = replace(model.record, chains=(chain,), structure=structure)
    sqlite_database.publish([deposit(model=replace(model, record=record), provider=awkward)])
    exported(sqlite_database, tmp_path / "in" / "bulk", "afdb")
    assert [
        each.name for each in tmp_path.iterdir() if each.is_dir() and each.name != "lab1.db"
    ] == ["in"]
    assert [each.name for each in (tmp_path / "in").iterdir()] == ["bulk"]
    folder = tmp_path / "in" / "bulk"
    assert sorted(each.name for each in folder.glob("*.tar")) == [
        "x_evil_2J_.._.._x_evil_2J_v1.tar",
        "x_evil_2J_v1.tar",
    ]
    lines = (folder / "sequences.fasta").read_text().splitlines()
    assert len(lines) == 4 and all("\x1b" not in line for line in lines)
    assert lines[2].startswith(">AFDB:AF-") and "_A_B " in lines[2]


def test_an_interrupted_bulk_export_continues(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    exported(database, whole, "afdb")
    complete = bulk._write_tar
    written: list[str] = []

    def interrupted(*given: Any) -> int:
        if written:
            raise KeyboardInterrupt
        written.append(given[3].name)
        return complete(*given)

    monkeypatch.setattr(bulk, "_write_tar", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exported(database, out, "afdb")
    assert not (out / "download_metadata.json").exists()

    def once(*given: Any) -> int:
        assert given[3].name not in written
        return complete(*given)

    monkeypatch.setattr(bulk, "_write_tar", once)
    exported(database, out, "afdb")
    assert tree(out) == tree(whole)


def test_a_bulk_export_is_not_continued_with_other_entries(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            exported(database, tmp_path / "out", "afdb")
    database.publish([deposit(accession="P00520", seed=9)])
    exported(database, tmp_path / "out", "afdb")
    exported(database, tmp_path / "whole", "afdb")
    name = "UP000000589_10090_MOUSE_v3.tar"
    assert tree(tmp_path / "out")[name] == tree(tmp_path / "whole")[name]


# The Integration Kit

REQUIRED = {
    *("uniqueId", "toolUsed", "modelCreatedDate", "modelEntityId", "stoichiometry", "providerId"),
    *("entityType", "sequence", "sequenceChecksum", "sequenceStart", "sequenceEnd", "isUniProt"),
    *("globalMetricValue", "fractionPlddtVeryLow", "fractionPlddtLow", "fractionPlddtConfident"),
    *("fractionPlddtVeryHigh", "latestVersion", "allVersions"),
}
"""Required fields of the kit's `model_schema.json`."""
OPTIONAL = {
    "complexName": str,
    "complexComposition": str,
    "uniprotAccession": str,
    "uniprotId": str,
    "uniprotDescription": str,
    "geneSynonyms": list,
    "gene": str,
    "isUniProtReferenceProteome": bool,
    "isUniProtReviewed": bool,
    "taxId": int,
    "organismScientificName": str,
    "ipTM": float,
    "ipSAE": float,
    "sequenceVersionDate": str,
    "isFragment": bool,
    "organismCommonNames": list,
    "proteinFullNames": list,
    "proteinShortNames": list,
    "keywords": list,
    "taxonomyLineage": list,
    "functions": list,
}
"""Further fields that it allows, of those that Foldry knows."""
PATTERNS = (
    r"(AF-\d{16})-model-(v\d+)\.(pdb|cif|bcif)",
    r"(AF-\d{16})-(confidence|predicted_aligned_error)-(v\d+)\.json",
    r"(AF-\d{16})-msa-(v\d+)\.a3m",
)
"""Names that the kit's check accepts."""
BANDS = {"V": (90, 100.01), "H": (70, 90.01), "M": (50, 70), "L": (30, 50), "D": (0, 30)}


def test_the_kit(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "kit"
    plddt = np.array([0, 29.99, 30, 49.99, 50, 69.99, 70, 90, 90.01, 100])
    model = stored_model([("MKVLAAGIVG", 1)], seed=5)
    structure = replace(
        model.record.structure,
        b_factor=np.where(model.record.structure.atom_mask, plddt[:, None], 0.0),
    )
    model = replace(model, record=replace(model.record, plddt=plddt, structure=structure))
    of_edges = (b">q\nMKVLAAGIVG\n",)
    database.publish([deposit(name="edges", model=model, alignments=of_edges)])
    done = exported(database, out, "kit")
    files = tree(out)
    assert (done.num_entries, done.num_files) == (3, len(files))
    assert sorted(str(each).split(" ")[0] for each in done.left_out) == [
        "AF-P00520-2-F1",
        "AF-P00520-F1",
    ]
    for path in files:
        folder, _, name = path.rpartition("/")
        if folder:
            assert any(re.fullmatch(pattern, name) for pattern in PATTERNS), name
            digits = name[3:19]
            assert folder == "/".join(digits[at : at + 4] for at in range(0, 16, 4))
    names = [path.rpartition("/")[2] for path in files if "/" not in path]
    assert sorted(names) == ["AF-metadata-1-of-1.json", "provider.json", "sequences.fasta"]
    provider = json.loads(files["provider.json"])
    assert provider["license"] == "CC-BY-4.0" and provider["providerId"] == "Example Lab"
    records = json.loads(files["AF-metadata-1-of-1.json"])
    assert len({each["uniqueId"] for each in records}) == len(records) == 4
    for each in records:
        assert REQUIRED <= set(each) <= REQUIRED | set(OPTIONAL)
        assert all(isinstance(each[name], kind) for name, kind in OPTIONAL.items() if name in each)
        assert re.fullmatch(r"AF-\d{16}_v\d+_\d", each["uniqueId"])
        assert each["sequenceChecksum"] == hashlib.md5(each["sequence"].encode()).hexdigest()
        assert abs(sum(each[name] for name in each if name.startswith("fraction")) - 1) < 0.003
    first = records[1]
    assert (first["complexComposition"], first["stoichiometry"], first["ipTM"]) == (
        f"{hashlib.md5(SEQUENCE.encode()).hexdigest().upper()}_2,"
        f"{hashlib.md5(b'MKVLAAGIVG').hexdigest().upper()}_1",
        2,
        0.7,
    )
    assert (first["isUniProt"], first["uniprotAccession"], first["sequenceStart"]) == (
        *(True, "P00519"),
        5,
    )
    for path, data in files.items():
        if "-confidence-" not in path:
            continue
        found = json.loads(data)
        assert found["residueNumber"] == list(range(1, len(found["confidenceScore"]) + 1))
        for score, letter in zip(
            found["confidenceScore"], found["confidenceCategory"], strict=True
        ):
            low, high = BANDS[letter]
            assert low <= score < high
    edges = database.entry("edges").entry_id
    [data] = [data for path, data in files.items() if f"{edges}-confidence" in path]
    assert "".join(json.loads(data)["confidenceCategory"]) == "DDLLMMHHVV"
    [data] = [data for path, data in files.items() if f"{edges}-model-v1.cif" in path]
    block = gemmi.cif.read_string(data.decode()).sole_block()
    assert block.find_values("_ma_qa_metric_local.metric_value")


def test_the_kit_takes_one_licence(sqlite_database: Database, tmp_path: Path) -> None:
    model = stored_model(licence="CC BY-NC 4.0")
    aligned: dict[str, Any] = {"alignments": (ALIGNMENT,)}
    sqlite_database.publish([deposit(model=stored_model(seed=1), content_key="free", **aligned)])
    sqlite_database.publish([deposit(model=model, **aligned), deposit(tool="Other", **aligned)])
    unstated = stored_model(seed=2, licence="")
    sqlite_database.publish(
        [
            deposit(model=unstated, tool="AlphaFold 3", **aligned),
            deposit(model=unstated, tool="Old", **aligned),
            deposit(tool="Without"),
        ]
    )
    done = exported(sqlite_database, tmp_path / "kit", "kit", all_versions=True)
    assert done.num_entries == 2
    reasons = (
        "has the licence 'CC BY-NC 4.0', which the kit does not take",
        "is under the terms of use of AlphaFold 3, which the kit does not take",
        "has no alignment of version 1, which the kit requires",
    )
    for error, reason in zip(done.left_out, reasons, strict=True):
        assert reason in str(error)
    folders = {path.split("/")[3] for path in tree(tmp_path / "kit") if path.count("/") == 4}
    assert folders == {"0002", "0004"}


def test_large_batches(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.database.integration_kit._BATCH", 2)
    monkeypatch.setattr(selections, "BATCH", 2)
    sqlite_database.publish(
        [deposit(name=f"n{n}", tool=f"tool {n}", alignments=(ALIGNMENT,)) for n in range(5)]
    )
    exported(sqlite_database, tmp_path / "kit", "kit")
    batches = [
        json.loads((tmp_path / "kit" / f"AF-metadata-{n}-of-3.json").read_text()) for n in (1, 2, 3)
    ]
    assert [len(each) for each in batches] == [2, 2, 1]
    assert [each["toolUsed"] for batch in batches for each in batch] == [
        f"tool {n}" for n in range(5)
    ]
