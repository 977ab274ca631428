"""Which query a file or a folder is for: names, consensus rows, several files of one protein."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries, read_query
from foldry.query import Query

Log = pytest.LogCaptureFixture


def write(folder: Path, **files: str) -> Path:
    """Write files; `__` in a name is a folder, and the last `_` the dot."""
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        path = folder / f"{stem}.{suffix}".replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def rows(query: Query) -> list[str]:
    [chain] = query.chains
    assert chain.alignment is not None
    return list(chain.alignment.texts)


def sto(*named: str) -> str:
    return "# STOCKHOLM 1.0\n" + "".join(f"{each}\n" for each in named) + "//\n"


def test_a_consensus_is_not_the_query(cases_dir: Path, tmp_path: Path, caplog: Log) -> None:
    [query] = read_queries([cases_dir / "09d-a3m-consensus-first" / "q.a3m"])
    assert query.name == "q" and query.chains[0].sequence.startswith("RPDFCLEPPYTGPC")
    assert len(rows(query)) == 2
    assert "'q_consensus', is a consensus" in caplog.text
    write(tmp_path, a_a3m=">Consensus\nMKT\n>a\nM-T\n", b_sto=sto("Consensus MKT", "b MVT"))
    first, second = read_queries([tmp_path])
    assert (first.name, rows(first)) == ("Consensus", ["MKT", "M-T"])
    assert "the query is the first row, 'Consensus', a consensus" in caplog.text
    assert (second.name, rows(second)) == ("b", ["MVT"])


def test_a_file_named_after_another_row_is_a_reason_to_doubt(tmp_path: Path, caplog: Log) -> None:
    write(tmp_path, EGFR_a3m=">P1 x\nMKT\n>EGFR y\nMVT\n", P2_a3m=">P2\nMKA\n>EGFR\nMVT\n")
    assert {query.name for query in read_queries([tmp_path])} == {"P1", "P2"}
    [record] = caplog.records
    assert "EGFR.a3m: the query is the first row, 'P1', not the row EGFR" in record.getMessage()


def test_of_a_sequence_and_its_alignment_the_alignment_is_taken(
    cases_dir: Path, tmp_path: Path, caplog: Log
) -> None:
    caplog.set_level("INFO")
    [query] = read_queries([cases_dir / "120-folder-fasta-and-a3m" / "in"])
    assert query.name == "p" and len(rows(query)) == 2
    assert "p.a3m is used for p, because it has an alignment" in caplog.text
    # Named otherwise, but of one file name; a longer list of proteins; another sequence.
    write(tmp_path, p_a3m=">101\nMKT\n>h\nMVT\n", p_fasta=">sp|P1|P_HUMAN\nMKT\n")
    assert [each.name for each in read_queries([tmp_path])] == ["p"]
    write(tmp_path, p_fasta=">p\nMKT\n>q\nMKV\n")
    found = read_queries([tmp_path])
    assert [(each.name, len(each.chains[0].alignments)) for each in found] == [("p", 1), ("q", 0)]
    write(tmp_path, p_fasta=">p\nMKW\n")
    with pytest.raises(InputError, match="name 'p'"):
        read_queries([tmp_path])


def test_generic_and_equal_headers_give_way_to_the_name_of_the_file(
    cases_dir: Path, tmp_path: Path
) -> None:
    found = read_queries([cases_dir / "123-colabfold-api-101-everywhere" / "msas"])
    assert [each.name for each in found] == ["CD47", "EGFR"]
    write(
        tmp_path,
        a_a3m=">query\nMKT\n",
        b_sto=sto("Query MKV"),
        c_a3m=">chain x\nMKA\n",
        d_a3m=">chain y\nMKW\n",
        two_sto=sto("query MKD") + sto("query MKE"),
    )
    assert [each.name for each in read_queries([tmp_path])] == [
        "a",
        "b",
        "c",
        "d",
        "two_1",
        "two_2",
    ]
    table = tmp_path / "t.csv"
    table.write_text("a,b\na,d\n")
    [pair] = read_screen([table, tmp_path])
    assert (pair.a, pair.b) == ("a", "d")


def test_the_alignments_of_alphafold_are_joined(
    cases_dir: Path, tmp_path: Path, caplog: Log
) -> None:
    caplog.set_level("INFO")
    msas = cases_dir / "125-af2-msas-folder" / "msas"
    query = read_query(msas)
    assert (query.name, len(rows(query))) == ("prot", 4)
    assert "The rows of the alignments of prot are joined: " in caplog.text
    # A run's folder, with a generic name of the query, in AlphaFold's order of databases.
    write(
        tmp_path,
        T1__ranking_debug_json="{}",
        T1__msas__mgnify_hits_sto=sto("query MKT", "m MVT"),
        T1__msas__bfd_uniref_hits_a3m=">query\nMKT\n>b\nM-aaT\n",
        T1__msas__uniref90_hits_sto=sto("query MKT", "u MWT"),
        T1__msas__pdb_hits_sto=sto("query MKT", "1abc_A MAT"),
    )
    for path in ("T1", "T1/msas"):
        query = read_query(tmp_path / path)
        assert (query.name, rows(query)) == ("T1", ["MKT", "MWT", "M-aaT", "MVT"])
    (tmp_path / "T1/msas/chain_id_map.json").write_text("{}")
    with pytest.raises(InputError, match="holds AlphaFold's alignments of a complex: fold each"):
        read_queries([tmp_path / "T1"])


@pytest.mark.parametrize("inner", ["", "a3m__", "alignments__"])
def test_a_folder_for_each_chain(tmp_path: Path, inner: str) -> None:
    """OpenFold's layout, and OpenProteinSet's."""
    files = {
        f"7abc_A__{inner}bfd_uniclust_hits_a3m": ">7abc_A x\nMKT\n>b\nMVT\n",
        f"7abc_A__{inner}uniref90_hits_a3m": ">query\nMKT\n>u\nMWT\n",
        f"7abc_A__{inner}hmm_output_sto": sto("q MKT", "1abc_A MAT"),
        f"8xyz_B__{inner}uniclust30_a3m": ">8xyz_B\nMKV\n",
        "notes_txt": "mine",
    }
    found = read_queries([write(tmp_path, **files)])
    assert [(each.name, rows(each)) for each in found] == [
        ("7abc_A", ["MKT", "MWT", "MVT"]),
        ("8xyz_B", ["MKV"]),
    ]
    shutil.rmtree(tmp_path / "8xyz_B")
    write(tmp_path, batch__one_a3m=">a\nMKV\n", batch__two_a3m=">b\nMKD\n")
    assert [each.name for each in read_queries([tmp_path])] == ["7abc_A", "a", "b"]


def test_files_of_one_protein_need_not_follow_each_other(tmp_path: Path) -> None:
    write(tmp_path, a_a3m=">x\nMKT\n>h\nMVT\n", b_fasta=">y\nMKV\n", c_a3m=">x\nMKT\n>i\nMWT\n")
    first, second = read_queries([tmp_path])
    assert (first.name, rows(first), second.name) == ("x", ["MKT", "MVT", "MWT"], "y")


def test_a_complex_with_one_alignment_is_taken_before_its_sequences(tmp_path: Path) -> None:
    chains = [{"protein": {"id": "A", "sequence": "MKT", "unpairedMsa": ">q\nMKT\n>r\nMVT\n"}}]
    chains.append({"protein": {"id": "B", "sequence": "MKV"}})
    write(tmp_path, a_fasta=">x\nMKT:MKV\n", b_json=json.dumps({"name": "x", "sequences": chains}))
    [query] = read_queries([tmp_path])
    assert [chain.alignment is None for chain in query.chains] == [False, True]


def test_joined_rows_keep_their_insertions(tmp_path: Path) -> None:
    write(tmp_path, q_a3m=">q\nMKT\n>r\nMaK-bb\n", q_sto=sto("q MK.T", "s MVWT"))
    assert rows(read_query(tmp_path)) == ["MKT", "MaK-bb", "MVwT"]
