"""Queries from input files: names, letters, chains, alignments, templates."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats.coordinates import read_structure
from foldry.formats.sequence import chain_names, clean_sequence, safe_name
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries, read_query
from foldry.query import Chain, Query
from tests.conftest import ROOT

SEQUENCE = "MKTAYIAKQR"
CIF = """data_t
loop_
_entity_poly_seq.entity_id
_entity_poly_seq.num
_entity_poly_seq.mon_id
1 1 GLY
1 2 ALA
1 3 MET
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
ATOM 1 C CA . ALA A 1 2 ? 1.0 2.0 3.0 1.0 5.0 20 A 1
ATOM 2 C CA . MET A 1 3 ? 4.0 5.0 6.0 1.0 5.0 21 A 1
loop_
_entity.id
_entity.type
1 polymer
loop_
_entity_poly.entity_id
_entity_poly.type
1 polypeptide(L)
"""


def read(folder: Path, name: str, content: str | bytes) -> list[Query]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_queries([path])


def test_fasta_records_are_queries(tmp_path: Path) -> None:
    text = ">sp|P00974|BPT1_BOVIN Pancreatic\nMKTAYI\nAKQR\n\n>two\nmktayiakqr*\n"
    one, two = read(tmp_path, "q.fasta", text)
    assert (one.name, two.name) == ("sp_P00974_BPT1_BOVIN", "two")
    for query in (one, two):
        assert [chain.sequence for chain in query.chains] == [SEQUENCE]
        assert query.chains[0].ids == ("A",)
        assert query.chains[0].alignment is None
        assert query.seeds == ()


@pytest.mark.parametrize(
    "content",
    [
        f">a\r\n{SEQUENCE[:4]}\r\n{SEQUENCE[4:]}\r\n",
        f">a\r{SEQUENCE}",
        f"\ufeff>a\n{SEQUENCE}\n\n\n",
        f"\n\n>a\n  {SEQUENCE[:5]} {SEQUENCE[5:]}\t\n",
        gzip.compress(f">a\n{SEQUENCE}\n".encode()),
    ],
    ids=["Windows", "old Mac", "byte-order mark", "spaces", "gzip"],
)
def test_fasta_variants(tmp_path: Path, content: str | bytes) -> None:
    (query,) = read(tmp_path, "a.fa", content)
    assert (query.name, query.chains[0].sequence) == ("a", SEQUENCE)


def test_rare_letters_become_x() -> None:
    assert clean_sequence("muobzjx", "here") == "MXXXXXX"
    with pytest.raises(InputError, match="here contains only X"):
        clean_sequence("XXUX", "here")


def test_a_single_record_without_a_name_gets_the_name_of_its_file(tmp_path: Path) -> None:
    assert read(tmp_path, "my protein.v2.fasta", f">\n{SEQUENCE}\n")[0].name == "my_protein.v2"


def test_chains_of_a_fasta_record(tmp_path: Path) -> None:
    (query,) = read(tmp_path, "q.fasta", f">dimer\n{SEQUENCE}:MKV:{SEQUENCE}\n")
    assert [(chain.ids, chain.sequence) for chain in query.chains] == [
        (("A", "C"), SEQUENCE),
        (("B",), "MKV"),
    ]
    assert (query.num_chains, query.num_residues) == (3, 23)


def test_chain_names() -> None:
    names = chain_names(26 + 26**2 + 1)
    assert names[:2] == ["A", "B"]
    assert names[25:29] == ["Z", "AA", "BA", "CA"]
    assert names[26 + 26 - 1 : 26 + 28] == ["ZA", "AB", "BB"]
    assert names[-1] == "AAA"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.a3m", ">q some words\nMKTAYIAKQR\n>r/1-9 OX=9606\nMK-AYIAKaaQR\n"),
        ("q.a3m", "#10\t1\n>q\nMKTAYIAKQR\n>r/1-9 OX=9606\nMK-AYIAKaaQR\n"),
        ("q.sto", "# STOCKHOLM 1.0\nq MKTAYIAK--QR\nr MK-AYIAKAAQR\n//\n"),
    ],
)
def test_the_first_row_of_an_alignment_is_the_query(tmp_path: Path, name: str, text: str) -> None:
    (query,) = read(tmp_path, name, text)
    (chain,) = query.chains
    assert (query.name, chain.sequence) == ("q", SEQUENCE)
    assert chain.alignment is not None
    assert chain.alignment.sequences == (SEQUENCE, "MK-AYIAKQR")
    assert chain.alignment.deletions.tolist() == [[0] * 10, [0] * 8 + [2, 0]]
    assert chain.alignment.headers[1].startswith("r")


def test_alignment_keeps_the_species(tmp_path: Path) -> None:
    (query,) = read(tmp_path, "q.a3m", ">q\nMK\n>tr|A|A_HUMAN x OX=9606\nM-\n")
    assert query.chains[0].alignment is not None
    assert query.chains[0].alignment.headers == ("q", "tr|A|A_HUMAN x OX=9606")


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "b.fasta").write_text(">b\nMK\n")
    (tmp_path / "a.a3m").write_text(">a\nMK\n")
    (tmp_path / "notes.txt").write_text("not a query\n")
    assert [query.name for query in read_queries([tmp_path])] == ["a", "b"]


def test_paths_may_be_text(tmp_path: Path) -> None:
    (tmp_path / "pair.fasta").write_text(">a\nMKV\n>b\nMAV\n")
    path = tmp_path / "pair.fasta"
    assert read_queries([str(path)]) == read_queries([path])
    [pair] = read_queries([str(path)], together=True)
    assert (pair.name, pair.num_chains) == ("pair", 2)
    assert [
        q.name for q in read_queries([str(tmp_path), str(ROOT / "examples/kunitz/1adz.fasta")])
    ] == ["a", "b", "1adz"]
    for wrong in ("", 3):
        with pytest.raises(InputError, match="is not the name of a file or folder"):
            read_queries([wrong])  # type: ignore[list-item]


def test_json_job(tmp_path: Path) -> None:
    (tmp_path / "msa").mkdir()
    (tmp_path / "msa" / "m.a3m").write_text(f">q\n{SEQUENCE}\n>r\nMK-AYIAKQR\n")
    (tmp_path / "t.cif.gz").write_bytes(gzip.compress(CIF.encode()))
    indices = {"queryIndices": [0, 3], "templateIndices": [2, 1]}
    protein = {
        "id": ["A"],
        "sequence": SEQUENCE,
        "modifications": [],
        "description": "a protein",
        "unpairedMsaPath": "msa/m.a3m",
        "pairedMsa": "",
        "templates": [{"mmcif": CIF, **indices}, {"mmcifPath": "t.cif.gz", **indices}],
    }
    job = {
        "name": "My job: 1",
        "modelSeeds": [7, 1],
        "sequences": [{"protein": protein}],
        "bondedAtomPairs": None,
        "dialect": "alphafold3",
        "version": 4,
    }
    (query,) = read(tmp_path, "job.json", json.dumps(job))
    (chain,) = query.chains
    assert (query.name, query.seeds) == ("My_job_1", (7, 1))
    assert (chain.ids, chain.sequence, chain.paired) == (("A",), SEQUENCE, None)
    assert chain.alignment is not None
    assert len(chain.alignment.sequences) == 2
    assert len(chain.templates) == 2
    for hit in chain.templates:
        assert hit.pairs.tolist() == [[0, 2], [3, 1]]
        assert hit.structure.sequence == "GAM"  # the residue that was not seen counts
        assert hit.structure.atom_mask.any(axis=1).tolist() == [False, True, True]


KEYS_OF_FILES = ("unpairedMsaPath", "pairedMsaPath", "mmcifPath")


def job_with_path(key: str, path: str) -> str:
    protein: dict[str, object] = {"sequence": SEQUENCE, "id": "A"}
    if key == "mmcifPath":
        indices = {"queryIndices": [0], "templateIndices": [1]}
        protein["templates"] = [{key: path, **indices}]
    else:
        protein[key] = path
    return json.dumps({"name": "job", "sequences": [{"protein": protein}]})


@pytest.mark.parametrize("key", KEYS_OF_FILES)
@pytest.mark.parametrize("way", ["absolute", "..", "link", "linked folder"])
def test_json_paths_stay_in_the_folder(tmp_path: Path, key: str, way: str) -> None:
    content = CIF if key == "mmcifPath" else f">q\n{SEQUENCE}\n"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text(content)
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "out" / "file")
    (folder / "out").symlink_to(tmp_path / "out")
    name = {
        "absolute": str(tmp_path / "out" / "file"),
        "..": "../out/file",
        "link": "link",
        "linked folder": "out/file",
    }[way]
    said = rf"has the {key} '.*', a file outside .* or set `allow_outside_paths`\."
    with pytest.raises(InputError, match=said) as caught:
        read(folder, "job.json", job_with_path(key, name))
    assert caught.value.code == "outside_path"
    assert read_query(folder / "job.json", allow_outside_paths=True).num_chains == 1
    with pytest.raises(InputError, match="outside the folder"):
        read_screen([folder / "job.json"], every=True)
    (folder / "in").mkdir()
    (folder / "in" / "file").write_text(content)
    for inside in ("in/file", "../jobs/in/file", str(folder / "in" / "file")):
        assert read(folder, "job.json", job_with_path(key, inside))


@pytest.mark.parametrize("name", ["none", "\0", "a" * 300, "\ud800", "."])
def test_json_paths_that_lead_nowhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"has the mmcifPath '.*', which does not exist") as caught:
        read(tmp_path, "job.json", job_with_path("mmcifPath", name))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_a_screen_of_jobs_may_read_other_folders(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (tmp_path / "m.a3m").write_text(f">q\n{SEQUENCE}\n")
    (folder / "job.json").write_text(job_with_path("unpairedMsaPath", "../m.a3m"))
    (folder / "b.fasta").write_text(">b\nMKV\n")
    [pair] = read_screen([folder], every=True, allow_outside_paths=True)
    assert {pair.a, pair.b} == {"job", "b"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (">a\nMKT\n\nMK7\n", r"q\.fasta, line 4, has '7' at residue 6"),
        (">a\nMKT\n>b\nMKT:\nMK-\n", r"q\.fasta, line 5, has a gap at residue 3"),
        (">a\nMKT\n>b\nMKT:\nMK9\n", r"q\.fasta, line 5, has '9' at residue 3"),
        (">a\nMK*\nT\n", r"q\.fasta, line 2, has a stop codon at residue 3"),
        (">a\n\n>b\nMK\n", r"q\.fasta, line 1, has no sequence"),
    ],
)
def test_an_error_of_a_sequence_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, "q.fasta", text)


def test_names_that_differ_by_case_are_equal(tmp_path: Path) -> None:
    says = "has the query name 'AB', equal except for case to 'ab' in"
    jobs = [
        {"name": name, "sequences": [{"protein": {"id": "A", "sequence": "MK"}}]}
        for name in ("ab", "AB")
    ]
    with pytest.raises(InputError, match=says):
        read(tmp_path, "q.json", json.dumps(jobs))
    says = r"q.json has two queries named 'ab': give every query its own name\.$"
    with pytest.raises(InputError, match=says):
        read(tmp_path, "q.json", json.dumps(jobs[:1] * 2))


def test_designs_of_several_files_are_named_after_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ProteinMPNN writes the native sequence and, by default, one design."""
    for name in ("a", "b"):
        text = f">{name}, score=1\nMK\n>T=0.1, sample=1\nM{name.upper()}\n".replace("MB", "MD")
        (tmp_path / f"{name}.fa").write_text(text)
    (tmp_path / "c.fa").write_text(">ab\nMK\n>z\nMV\n>ab\nMW\n")
    names = ["a", "a_2", "b", "b_2", "c_1", "z", "c_3"]
    caplog.set_level("INFO")
    assert [query.name for query in read_queries([tmp_path])] == names
    says = "Queries named like another are named after their files: 4, e.g. a_2 for T_0.1."
    assert [each.getMessage() for each in caplog.records] == [says]
    # Records with one sequence keep their names beside the alignment of one of them.
    (tmp_path / "d.fa").write_text(">d\nMKK\n>e\nMKK\n")
    (tmp_path / "d.a3m").write_text(">d\nMKK\n>h\nMK-\n")
    assert [query.name for query in read_queries([tmp_path])] == [*names, "d", "e"]


def test_proteinmpnn_separates_chains_by_a_slash(cases_dir: Path) -> None:
    [query] = read_queries([cases_dir / "19b-fasta-slash-join/q.fasta"])
    assert [len(chain.sequence) for chain in query.chains] == [30, 28]
    [query] = read_queries([cases_dir / "25n-proteinmpnn-complex/d.fa"])
    assert query.name == "T_0.1"
    assert [len(chain.sequence) for chain in query.chains] == [30, 20]


def test_designs_with_one_first_word_are_named_after_the_file(tmp_path: Path) -> None:
    text = ">3htn, score=1.1\nMK/MV\n>T=0.1, sample=1\nMR/MV\n>T=0.1, sample=2\nMW\n"
    found = read(tmp_path, "d.fa", text)
    assert [query.name for query in found] == ["3htn", "d_2", "d_3"]
    assert [query.num_chains for query in found] == [2, 2, 1]


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        (("x", "x, id=1", "y"), ["d_1", "d_2", "y"]),  # LigandMPNN: equal as names of files
        (("a/b", "a_b"), ["d_1", "d_2"]),
        (("1abc_A", "1abc_a", "1abc_B"), ["d_1", "d_2", "1abc_B"]),
        (("\u00e9", "e\u0301"), ["d_1", "d_2"]),
        (("名" * 40, "名" * 41), ["d_1", "d_2"]),
        (("d_2", "??"), ["d_1", "d_2"]),  # a name that would be made is taken
        (("D_3", "x", "🧬"), ["d_1", "x", "d_3"]),
        (("d_2", "d_1"), ["d_2", "d_1"]),
    ],
)
def test_equal_names_give_way_to_that_of_the_file(
    tmp_path: Path, headers: tuple[str, ...], names: list[str]
) -> None:
    text = "".join(f">{each}\nMK{'V' * i}\n" for i, each in enumerate(headers))
    assert [query.name for query in read(tmp_path, "d.fa", text)] == names


def test_names_in_other_scripts(cases_dir: Path, tmp_path: Path) -> None:
    found = read_queries([cases_dir / "21-fasta-names/q.fasta"])
    assert [query.name for query in found] == ["ok", "蛋白"]
    found = read(tmp_path, "q.fasta", ">??? x\nMK\n>α-toxin\nMV\n>../..\nMW\n")
    assert [query.name for query in found] == ["q_1", "α-toxin", "q_3"]
    assert read(tmp_path, "+.a3m", ">🧬\nMK\n")[0].name == "query"
    long = read(tmp_path, f"{'x' * 150}.fasta", ">?\nMK\n>!\nMV\n")
    assert [query.name for query in long] == [f"{'x' * 98}_1", f"{'x' * 98}_2"]


@pytest.mark.parametrize(
    ("sequence", "says"),
    [
        (
            "MK:\nMV:",
            "line 3, has an empty chain 3: write its amino acids, or remove the ':' beside",
        ),
        (":MK", "line 2, has an empty chain 1: "),
        ("MK*:*", "line 2, has an empty chain 2: "),
        ("*/MK", "line 2, has an empty chain 1: "),
        ("MK\n::MV", "line 3, has an empty chain 2: "),
        ("MK/MV/", "line 2, has an empty chain 3: write its amino acids, or remove the '/' beside"),
    ],
)
def test_an_empty_chain_is_named(tmp_path: Path, sequence: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, "q.fasta", f">q\n{sequence}\n")


def test_an_empty_chain_of_a_case_is_named(cases_dir: Path) -> None:
    with pytest.raises(InputError, match=r"q\.fasta, line 7, has an empty chain 3: "):
        read_queries([cases_dir / "19-fasta-trailing-colon/q.fasta"])


def test_two_files_of_one_query_advise_giving_one(tmp_path: Path) -> None:
    (tmp_path / "q.fasta").write_text(">q_1\nMK\n")
    (tmp_path / "q.fa").write_text(">q_1\nMV\n")
    says = r"its own name \(unsafe characters count as _\), or give only one of the two files"
    with pytest.raises(InputError, match=says):
        read_queries([tmp_path])


def test_quotes_of_a_file_are_short_and_printable(tmp_path: Path) -> None:
    for job in ({"dialect": "[" * 9999}, {"\x1b" * 9999: 1}, {"modelSeeds": ["\n" * 9999]}):
        whole = {"name": "x", "sequences": [{"proteinChain": {"sequence": "MK"}}], **job}
        with pytest.raises(InputError) as caught:
            read(tmp_path, "q.json", json.dumps(whole))
        assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_json_jobs_of_the_server(tmp_path: Path) -> None:
    jobs = [
        {
            "name": f"job {number}",
            "modelSeeds": ["1593933729"],
            "sequences": [
                {"proteinChain": {"sequence": SEQUENCE, "count": 2, "glycans": []}},
                {"proteinChain": {"sequence": "MKV", "count": 1, "modifications": []}},
            ],
            "dialect": "alphafoldserver",
            "version": 1,
        }
        for number in (1, 2)
    ]
    one, two = read(tmp_path, "jobs.json", json.dumps(jobs))
    assert (one.name, two.name, one.seeds) == ("job_1", "job_2", (1593933729,))
    assert [chain.ids for chain in one.chains] == [("A", "B"), ("C",)]


def test_alignments_and_templates_of_server_jobs_mean_what_they_mean_in_alphafold_3(
    tmp_path: Path,
) -> None:
    """The keys of the AlphaFold Server's README."""
    known = read_structure(ROOT / "examples" / "kunitz" / "1adz.cif")
    indices = list(range(len(known)))
    chain = {
        "sequence": known.sequence,
        "unpairedMsa": f">query\n{known.sequence}\n>h\n{'-' * len(known)}\n",
        "templates": [
            {
                "mmcif": (ROOT / "examples" / "kunitz" / "1adz.cif").read_text(),
                "queryIndices": indices,
                "templateIndices": indices,
            }
        ],
    }
    server = {"count": 1, "useStructureTemplate": True, "maxTemplateDate": "2018-01-20", **chain}
    whole = {"name": "x", "modelSeeds": [], "version": 1}
    jobs = [
        {**whole, "dialect": "alphafoldserver", "sequences": [{"proteinChain": server}]},
        {**whole, "dialect": "alphafold3", "sequences": [{"protein": {"id": "A", **chain}}]},
    ]
    theirs, ours = (read(tmp_path, "q.json", json.dumps(job))[0] for job in jobs)
    assert theirs.chains == ours.chains
    assert theirs.chains[0].alignment is not None
    assert theirs.chains[0].alignment.num_rows == 2
    assert theirs.chains[0].templates[0].pairs.tolist() == [[k, k] for k in indices]


def test_a_job_of_the_server_with_an_alignment(cases_dir: Path) -> None:
    [query] = read_queries([cases_dir / "25c-server-custom-msa/q.json"])
    [alignment] = [chain.alignment for chain in query.chains]
    assert alignment is not None and alignment.headers == ("query", "h")
    assert query.num_residues == 58


@pytest.mark.parametrize("suffix", ["gz", "xz", "zst"])
def test_files_that_a_job_names_may_be_packed(tmp_path: Path, suffix: str) -> None:
    pack = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.compress}[suffix]
    entry = (ROOT / "examples" / "kunitz" / "1adz.cif").read_bytes()
    (tmp_path / f"t.cif.{suffix}").write_bytes(pack(entry))
    (tmp_path / f"m.a3m.{suffix}").write_bytes(pack(b">q\nMKV\n>r\nM-V\n"))
    protein = {
        "id": "A",
        "sequence": "MKV",
        "unpairedMsaPath": f"m.a3m.{suffix}",
        "templates": [
            {"mmcifPath": f"t.cif.{suffix}", "queryIndices": [0], "templateIndices": [3]}
        ],
    }
    job = {"name": "x", "modelSeeds": [], "sequences": [{"protein": protein}]}
    [query] = read(tmp_path, "q.json", json.dumps(job))
    [chain] = query.chains
    assert chain.alignment is not None and chain.alignment.texts == ("MKV", "M-V")
    assert chain.templates[0].name == "t_A"


@pytest.mark.parametrize("name", ["t.cif", "msas/x y.a3m.gz", "/data/pdb/1abc.mmcif"])
def test_a_path_where_a_text_belongs(tmp_path: Path, name: str) -> None:
    template = {"mmcif": name, "queryIndices": [0], "templateIndices": [0]}
    for key, protein in (
        ("mmcif", {"templates": [template]}),
        ("unpairedMsa", {"unpairedMsa": name}),
    ):
        chain = {"protein": {"id": "A", "sequence": "MKV", **protein}}
        with pytest.raises(InputError, match=f"has the {key} '{name}', .* name the file in {key}P"):
            read(tmp_path, "q.json", json.dumps({"name": "x", "sequences": [chain]}))


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        (([0], [3]), "templateIndices that are not all whole numbers from 0 to 2"),
        (([10], [0]), "queryIndices that are not all whole numbers from 0 to 9"),
        (([-1], [0]), "queryIndices that are not all"),
        (([0.5], [0]), "queryIndices that are not all"),
        (([True], [0]), "queryIndices that are not all"),
        (({"0": 0}, [0]), "queryIndices that are not a list"),
        ((None, [0]), "has no indices, lists of indices of"),
        (([0, 1], [0]), "has no indices, lists of indices of"),
        (([0, 0], [0, 1]), "twice"),
        (([], []), "has no indices, lists of indices of"),
    ],
)
def test_json_template_indices(tmp_path: Path, indices: tuple[object, object], says: str) -> None:
    template = {"mmcif": CIF, "queryIndices": indices[0], "templateIndices": indices[1]}
    protein = {"id": "A", "sequence": SEQUENCE, "templates": [template]}
    job = {"name": "x", "sequences": [{"protein": protein}]}
    with pytest.raises(InputError, match=says):
        read(tmp_path, "job.json", json.dumps(job))


@settings(deadline=None)
@given(st.text(max_size=200) | st.text("a.-/", min_size=90, max_size=110))
def test_a_name_is_safe_or_refused(name: str) -> None:
    try:
        safe = safe_name(name, "here")
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert safe == Path(safe).name
    assert safe == safe.strip("._-")
    assert Query(safe, (Chain(("A",), "MKT"),)).name == safe
    assert safe.isprintable()
    assert 0 < len(safe.encode()) <= 100
    assert safe_name(safe, "here") == safe


KEYS = ["name", "sequences", "protein", "id", "sequence", "templates", "modelSeeds", "mmcif"]
KEYS += ["unpairedMsa", "pairedMsaPath", "queryIndices", "templateIndices", "proteinChain"]
KEYS += ["count", "dialect", "version", "modifications"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(content=JSON)
def test_any_json_is_a_query_or_bad_input(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    for job in (
        content,
        {"name": "x", "sequences": content},
        {"name": "x", "sequences": [{"protein": content}]},
        {"name": "x", "sequences": [{"protein": {"sequence": "MK", "templates": content}}]},
    ):
        path.write_text(json.dumps(job))
        try:
            queries = read_queries([path])
        except InputError as error:
            assert str(error).endswith(".")
        else:
            assert all(query.chains for query in queries)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("#3\t1\n>101\nMKV\n", "file"),
        ("#3\t1\n>\nMKV\n", "file"),
        ("#3\t1\n>protein\nMKV\n", "protein"),
        ("#3,2\t1,1\n>one\ttwo\nMKVAG\n", "file"),
    ],
)
def test_the_name_of_a_colabfold_alignment(tmp_path: Path, text: str, name: str) -> None:
    """ColabFold numbers chains from 101, and a complex has no name of one chain."""
    path = tmp_path / "file.a3m"
    path.write_text(text)
    [query] = read_queries([path])
    assert query.name == name


@pytest.mark.parametrize("comment", ["#", "# 3 rows, found by hand"])
def test_an_alignment_may_begin_with_a_comment(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "file.a3m"
    path.write_text(f"{comment}\n>protein\nMKV\n")
    [query] = read_queries([path])
    assert query.name == "protein" and query.chains[0].sequence == "MKV"


@pytest.mark.parametrize("text", [">a\nMKV\n>b\nMKV\n>c\nMKV\n", ">a\nMKV:MKV:MKV\n"])
def test_the_chains_of_one_fasta_file_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "q.fasta"
    path.write_text(text)
    monkeypatch.setattr("foldry.formats.sequence.MAX_FILE_CHAINS", 3)
    assert sum(query.num_chains for query in read_queries([path])) == 3
    monkeypatch.setattr("foldry.formats.sequence.MAX_FILE_CHAINS", 2)
    with pytest.raises(InputError, match="has more than 2 chains: split it into several files"):
        read_queries([path])
