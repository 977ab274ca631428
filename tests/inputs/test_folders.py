"""Which query a file or a folder is for: names, consensus rows, several files of one protein."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.features.pairing import align_complex
from foldry.inputs.folders import sources
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries, read_query
from foldry.query import Alignment, Query

Log = pytest.LogCaptureFixture


def write(folder: Path, **files: str) -> Path:
    """Write files; `__` in a name is a folder, and the last `_` the dot."""
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        path = folder / f"{stem}.{suffix}".replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def texts(alignment: Alignment | None) -> list[str]:
    return list(alignment.texts) if alignment else []


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


@pytest.mark.parametrize("other", ["EGFRX", "XEGFR|Y", "a/EGFR2"])
def test_other_names_are_no_reason_to_doubt(tmp_path: Path, caplog: Log, other: str) -> None:
    read_queries([write(tmp_path, EGFR_a3m=f">P1\nMKT\n>{other}\nMVT\n")])
    assert not caplog.records


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


def test_searches_of_one_protein_are_joined_whatever_they_call_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        T1__msas__uniref90_hits_sto=sto("q/7-9 MKT", "u MWT"),
        T1__msas__bfd_uniref_hits_a3m=">q x\nMKT\n>b\nM-T\n",
        T2__uniref90_hits_a3m=">chain_B\nWCY\n>u\nW-Y\n",
        T2__mgnify_hits_sto=sto("B WCY", "m WYY"),
    )
    for folder, name, found in (
        ("T1", "q_7-9", ["MKT", "MWT", "M-T"]),
        ("T2", "chain_B", ["WCY", "W-Y", "WYY"]),
    ):
        query = read_query(tmp_path / folder)
        assert (query.name, rows(query)) == (name, found)


def test_files_named_as_searches_of_different_proteins(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__uniref90_X_a3m=">101\nMKT\n",
        a__uniref90_Y_a3m=">101\nWCY\n",
        b__bfd_X_a3m=">query\nMKT\n",
        b__mgnify_Y_sto=sto("query WCY"),
    )
    for folder, names in (("a", ["uniref90_X", "uniref90_Y"]), ("b", ["bfd_X", "mgnify_Y"])):
        assert [query.name for query in read_queries([tmp_path / folder])] == names


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


MULTIMER = {
    "T2__ranking_debug_json": "{}",
    "T2__msas__A__uniref90_hits_sto": sto("A MKT", "u MWT"),
    "T2__msas__A__bfd_uniref_hits_a3m": ">A\nMKT\n>b\nM-aaT\n",
    "T2__msas__A__mgnify_hits_sto": sto("A MKT", "m MVT"),
    "T2__msas__A__pdb_hits_sto": sto("A MKT", "1abc_A MAT"),
    "T2__msas__A__uniprot_hits_sto": sto("A MKT", "tr|A0A146SKV9|A0A146SKV9_FUNHE/1-3 MRT"),
    "T2__msas__B__small_bfd_hits_sto": sto("B GSHM", "s GTHM"),
    "T2__msas__B__uniprot_hits_sto": sto("B GSHM", "tr|A0A146SKW0|A0A146SKW0_FUNHE/1-4 GAHM"),
}


def chain_map(**sequences: str) -> str:
    listed = {name: {"description": "x", "sequence": each} for name, each in sequences.items()}
    return json.dumps(listed, indent=4, sort_keys=True)


def test_the_alignments_of_a_complex(tmp_path: Path) -> None:
    """AlphaFold-Multimer searches once for equal chains, and pairs the rows from UniProt."""
    listed = chain_map(A="MKT", B="GSHM", C="MKT")
    run = write(tmp_path, **MULTIMER, T2__msas__chain_id_map_json=listed) / "T2"
    for path in (run, run / "msas", run / "msas" / "chain_id_map.json", tmp_path):
        query = read_query(path)
        assert query.name == "T2"
        assert [(chain.ids, chain.sequence) for chain in query.chains] == [
            (("A", "C"), "MKT"),
            (("B",), "GSHM"),
        ]
        first, second = query.chains
        assert texts(first.alignment) == ["MKT", "MWT", "M-aaT", "MVT"]
        assert texts(first.paired) == ["MKT", "MRT"]
        assert (texts(second.alignment), texts(second.paired)) == (
            ["GSHM", "GTHM"],
            ["GSHM", "GAHM"],
        )
    report = align_complex(query).report
    assert [(each.species, each.num_paired) for each in report.species] == [("FUNHE", 1)]
    # One chain by itself, and the next protein of a run with several.
    assert rows(read_query(run / "msas" / "A")) == ["MKT", "MWT", "M-aaT", "MVT"]
    write(tmp_path, T3__msas__uniref90_hits_sto=sto("q MKV"))
    assert [each.name for each in read_queries([tmp_path])] == ["T2", "T3"]


def test_chains_in_the_order_of_alphafold(tmp_path: Path) -> None:
    letters = {"A": "MKT", "Z": "MKV", "a": "MKA", "b": "MKC", "0": "MKD", "9": "MKE"}
    files = {f"x__{name}__uniref90_hits_sto": sto(f"q {each}") for name, each in letters.items()}
    write(tmp_path, **files, x__chain_id_map_json=chain_map(**letters))
    chains = read_query(tmp_path / "x").chains
    assert [(chain.ids[0], chain.sequence) for chain in chains] == list(letters.items())
    assert all(chain.paired is None for chain in chains)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("{}", r"chain_id_map.json has no chain"),
        ("[1]", r"chain_id_map.json is not AlphaFold's list of chains: give the folder"),
        ("{", r"chain_id_map.json is not AlphaFold's list of chains"),
        ('{"A": {"description": "x"}}', r"is not AlphaFold's list of chains"),
        (chain_map(A="MKT", D="MKV"), r"lists chain D, but the folder D beside it has no align"),
        (chain_map(A="MK7"), r"chain_id_map.json, chain A, has '7' at residue 3"),
        (chain_map(A="MKV"), r"A/uniref90_hits.sto has unpaired rows, the first of which is anoth"),
        (json.dumps({"../T4": {"sequence": "MKT"}}), r"lists the chain '../T4': name chains by"),
    ],
)
def test_a_list_that_does_not_fit_its_folders(tmp_path: Path, listed: str, said: str) -> None:
    write(tmp_path, **MULTIMER, T2__msas__chain_id_map_json=listed)
    write(tmp_path, T4__uniref90_hits_sto=sto("q MKT"))
    with pytest.raises(InputError, match=said):
        read_queries([tmp_path / "T2"])


def test_every_alignment_of_a_chain_begins_with_it(tmp_path: Path) -> None:
    files = MULTIMER | {"T2__msas__B__small_bfd_hits_sto": sto("B GSHV", "s GTHM")}
    write(tmp_path, **files, T2__msas__chain_id_map_json=chain_map(A="MKT", B="GSHM"))
    with pytest.raises(InputError, match=r"B/small_bfd_hits\.sto has unpaired rows, the first"):
        read_queries([tmp_path])


def test_the_alignments_of_alphafold_server(tmp_path: Path) -> None:
    """Its results have the alignments of each chain, with the copies in the names of the files."""
    run = write(
        tmp_path,
        fold_x__fold_x_job_request_json=json.dumps([{"name": "x", "sequences": []}]),
        fold_x__fold_x_full_data_0_json="{}",
        fold_x__msas__fold_x_unpaired_msa_chains_a_c_a3m=">query\nMKT\n>u\nMVT\n",
        fold_x__msas__fold_x_paired_msa_chains_a_c_a3m=">query\nMKT\n>p\nMRT\n",
        fold_x__msas__fold_x_unpaired_msa_chains_b_a3m=">query\nGSHM\n",
    )
    for path in (run, run / "fold_x", run / "fold_x" / "msas"):
        query = read_query(path)
        assert query.name == "fold_x"
        assert [(chain.ids, chain.sequence) for chain in query.chains] == [
            (("A", "C"), "MKT"),
            (("B",), "GSHM"),
        ]
        assert texts(query.chains[0].alignment) == ["MKT", "MVT"]
        assert texts(query.chains[0].paired) == ["MKT", "MRT"]
    write(run, fold_x__msas__fold_y_unpaired_msa_chains_a_a3m=">query\nMKT\n")
    with pytest.raises(InputError, match="msas holds the alignments of several jobs: give each"):
        read_queries([run])


def test_a_complex_beside_proteins(tmp_path: Path) -> None:
    listed = json.dumps({"A": {"sequence": "MKTAY"}})
    write(
        tmp_path,
        one__uniref90_hits_a3m=">query\nMKV\n>u\nMVV\n",
        two__msas__chain_id_map_json=listed,
        two__msas__A__bfd_hits_a3m=">query\nMKTAY\n",
    )
    assert [query.name for query in read_queries([tmp_path])] == ["one", "two"]


def test_folders_of_folders(tmp_path: Path) -> None:
    """The output folder of OpenFold, and the whole of OpenProteinSet."""
    write(
        tmp_path,
        of__alignments__7abc_A__uniref90_hits_sto=sto("query MKT", "u MWT"),
        of__alignments__7abc_A__hhsearch_output_hhr="x",
        of__predictions__x_pdb="x",
        of__timings_json="{}",
        ops__pdb__7abc_A__a3m__uniclust30_a3m=">7abc_A\nMKT\n>h\nMVT\n",
        ops__pdb__7abc_A__hhr__pdb70_hits_hhr="x",
        ops__uniclust30__Q9__a3m__uniclust30_a3m=">Q9\nMKV\n",
        deep__a__b__c__d__x_a3m=">x\nMKT\n",
    )
    assert rows(read_query(tmp_path / "of")) == ["MKT", "MWT"]
    assert read_query(tmp_path / "of").name == "7abc_A"
    assert [each.name for each in read_queries([tmp_path / "ops"])] == ["7abc_A", "Q9"]
    with pytest.raises(InputError, match="deep is a folder without a FASTA, a3m, Stockholm"):
        read_queries([tmp_path / "deep"])


def test_the_folders_of_colabfold(tmp_path: Path, caplog: Log) -> None:
    caplog.set_level("INFO")
    write(
        tmp_path,
        EGFR_a3m="#3\t1\n>101\nMKT\n>h\nMVT\n",
        CD47_a3m="#3\t1\n>101\nMKV\n",
        **{"._EGFR_a3m": "\0\5", ".DS_Store": "\0\1", "EGFR_a3m_lock": "", "EGFR_done_txt": ""},
        config_json='{"num_queries": 2}',
        EGFR_scores_rank_001_x_json='{"plddt": [90]}',
        EGFR_unrelaxed_rank_001_pdb="ATOM",
        EGFR_coverage_png="\0",
        EGFR_env__uniref_a3m=">101\nMKT\n>h\nMVT\n\0",
        **{"EGFR_env__bfd.mgnify30.metaeuk30.smag30_a3m": ">101\nMKT\n>i\nMWT\n\0"},
        EGFR_env__pdb70_m8="101\tx",
    )
    assert [each.name for each in read_queries([tmp_path])] == ["CD47", "EGFR"]
    assert "not read: 2 JSON files without sequences, e.g. EGFR_scores" in caplog.text
    query = read_query(tmp_path / "EGFR_env")
    assert (query.name, rows(query)) == ("EGFR", ["MKT", "MVT", "MWT"])


def test_the_job_among_the_results_of_alphafold_3(tmp_path: Path) -> None:
    job = {"name": "x", "sequences": [{"protein": {"id": "A", "sequence": "MKT"}}]}
    write(
        tmp_path,
        x_data_json=json.dumps(job),
        x_confidences_json='{"pae": [[1]]}',
        x_summary_confidences_json='{"ptm": 1}',
        x_model_cif="data_x",
        ranking_scores_csv="seed,sample\n",
    )
    assert read_query(tmp_path).name == "x"
    (tmp_path / "x_data.json").write_text('{"name": "x", "sequences": []}')
    with pytest.raises(InputError, match=r"x_data\.json has no sequences"):
        read_queries([tmp_path])


def test_a_folder_without_queries_names_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, a__x_json="{}", b__x_csv="id\n", c__x_cif="data_", d__notes_txt="x")
    for name, said in {
        "a": "JSON file: check the path; x.json is not a job, as it has no sequences.",
        "b": "check the path; x.csv is a table.",
        "c": "check the path; x.cif is a structure, for `templates`.",
        "d": "check the path.",
    }.items():
        with pytest.raises(InputError) as caught:
            read_queries([tmp_path / name])
        assert str(caught.value).endswith(said)


def test_an_empty_folder_of_alignments_hides_nothing(tmp_path: Path) -> None:
    (write(tmp_path, q_fasta=">q\nMKT\n") / "msas").mkdir()
    assert read_query(tmp_path).name == "q"


def test_many_files_of_a_folder_are_sorted_out_quickly(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number}.fasta").write_text(f">q{number}\nMKT\n")
        (tmp_path / f"{number}.json").write_text("{}")
    before = time.process_time()
    assert len(sources(tmp_path)) == 1500
    assert time.process_time() - before < 5


def test_the_jobs_of_a_folder_of_results_of_alphafold_3(tmp_path: Path) -> None:
    for name in ("one", "two"):
        job = {"name": name, "sequences": [{"protein": {"id": "A", "sequence": "MKTAY"}}]}
        write(tmp_path, **{f"{name}__{name}_data_json": json.dumps(job)})
        write(tmp_path, **{f"{name}__{name}_confidences_json": '{"pae": [[0]]}'})
    assert [query.name for query in read_queries([tmp_path])] == ["one", "two"]


def test_equal_proteins_of_two_files_are_one(tmp_path: Path, caplog: Log) -> None:
    write(tmp_path, a_fasta=">q\nMKTAY\n", b_fasta=">q x\nMKTAY\n", c_fasta=">q\nMKTAV\n")
    with caplog.at_level("INFO"):
        found = read_queries([tmp_path])
    assert [(each.name, each.chains[0].sequence) for each in found] == [
        ("a", "MKTAY"),
        ("c", "MKTAV"),
    ]
    assert f"{tmp_path / 'b.fasta'}, which has the same sequence, is not." in caplog.text


@pytest.mark.parametrize("row", ["mkTAY", "MKtAY", "MKTa"])
def test_the_query_of_an_alignment_has_no_insertions(tmp_path: Path, row: str) -> None:
    with pytest.raises(InputError) as caught:
        read_queries([write(tmp_path, q_a3m=f">q\n{row}\n") / "q.a3m"])
    says = "first row, has lower-case letters, which are insertions: write its residues in upper"
    assert says in str(caught.value)


def test_searches_that_are_left_out_below_a_folder_are_named(tmp_path: Path, caplog: Log) -> None:
    caplog.set_level("INFO")
    write(
        tmp_path,
        q__msas__bfd_hits_a3m=">q\nMKT\n>u\nMVT\n",
        q__msas__pdb_hits_sto=sto("q MKT", "t MWT"),
        q__msas__uniprot_hits_sto=sto("q MKT", "t MWT"),
    )
    assert rows(read_query(tmp_path)) == ["MKT", "MVT"]
    for name in ("pdb_hits", "uniprot_hits"):
        assert f"{name}.sto is not read: it is for templates or complexes." in caplog.text
