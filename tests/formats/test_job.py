"""Queries written to and read from AlphaFold 3's JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.align.pairwise import BLOSUM62
from foldry.errors import InputError
from foldry.features.templates import align_template
from foldry.formats.a3m import parse_complex_a3m
from foldry.formats.coordinates import parse_structure, read_structure, to_pdb
from foldry.formats.job import job_json, parse_jobs
from foldry.formats.table import read_table
from foldry.query import Alignment, Chain, Hit, Query
from foldry.structure import Structure
from tests.conftest import ROOT

HERE = Path("q.json")


def structure(name: str, chain: str = "A") -> Structure:
    """Four residues: the second was not seen, the last is unknown; one atom has no CA's place."""
    mask = np.zeros((4, 37), bool)
    mask[:, :3] = True
    mask[1] = False
    xyz = np.arange(4 * 37 * 3).reshape(4, 37, 3) / 8 - 3
    return Structure(
        name=name,
        aatype=np.array([0, 4, 7, 20]),
        residue_number=np.array([-3, 2, -1, -1]),
        insertion_code=np.array(["", "", "", "B"]),
        chain_id=np.full(4, chain),
        atom_positions=np.where(mask[..., None], xyz, 0),
        atom_mask=mask,
        b_factor=np.where(mask, 12.34, 0),
    )


@pytest.mark.parametrize("name", ["///", "🧬", "...", "_-_", "?"])
def test_a_job_whose_name_cannot_name_a_file_is_named_after_the_file(name: str) -> None:
    job = {"name": name, "sequences": [{"proteinChain": {"sequence": "MKT", "count": 1}}]}
    for jobs, expected in (
        (job, ["q"]),
        ([job], ["q"]),
        ([job, {**job, "name": "蛋"}, job], ["q_1", "蛋", "q_3"]),
    ):
        assert [query.name for query in parse_jobs(json.dumps(jobs), HERE)] == expected


def hit(name: str = "1abc_A", chain: str = "A", release_date: str | None = None) -> Hit:
    pairs = np.array([[0, 3], [2, 0]])
    return Hit(name, pairs, structure(name, chain), release_date=release_date)


def again(query: Query) -> Query:
    [found] = parse_jobs(job_json(query), HERE)
    return found


COMPLEX = """#4,3	2,1
>101	102
MKTAWCY
>x	y
MK-aAWC-
>101
MKTA---
>u
-KTA---
>102
----WCY
"""
ALIGNMENT = Alignment.of(["q", "tr|A|A_HUMAN OX=9606", ""], ["MKT", "aM-acTxy", "---"])


@pytest.mark.parametrize(
    "query",
    [
        Query("plain", (Chain(("A",), "MKT"),)),
        Query("seeds", (Chain(("A",), "MKT"),), (4, 0, 2**32 - 1)),
        Query("copies", (Chain(("A", "C"), "MKT", ALIGNMENT), Chain(("B2",), "GGX"))),
        Query("paired", (Chain(("A",), "MKT", None, ALIGNMENT),)),
        Query("both", (Chain(("A",), "MKT", ALIGNMENT, ALIGNMENT.rows([0, 1])),)),
        Query("templates", (Chain(("A",), "MKT", templates=(hit(), hit("2xyz_B", "B"))),)),
        Query("dated", (Chain(("A",), "MKT", ALIGNMENT, None, (hit(release_date="2001-02-03"),)),)),
        Query("long.chain-name", (Chain(("A",), "MKT", templates=(hit("x_Long", "Long"),)),)),
        Query("odd_template", (Chain(("A",), "MKT", templates=(hit("my 'file\" #1_A"),)),)),
    ],
    ids=lambda query: query.name,
)
def test_a_query_is_read_as_it_was_written(query: Query) -> None:
    assert again(query) == query
    assert job_json(again(query)) == job_json(query)
    # The order of keys and the space between them do not matter.
    other = json.dumps(dict(reversed(json.loads(job_json(query)).items())))
    assert parse_jobs(f"[{other}]", HERE) == [query]


def test_the_written_json_is_alphafold_3s() -> None:
    query = Query("q", (Chain(("A", "B"), "MKT", ALIGNMENT, None, (hit(),)), Chain(("C",), "GG")))
    job = json.loads(job_json(query))
    assert (job["dialect"], job["version"], job["name"], job["modelSeeds"]) == (
        "alphafold3",
        1,
        "q",
        [],
    )
    assert set(job) == {"dialect", "version", "name", "modelSeeds", "sequences"}
    first, second = (entry["protein"] for entry in job["sequences"])
    # If one alignment is given, AlphaFold 3 searches for neither.
    assert first["pairedMsa"] == ""
    assert first["unpairedMsa"] == ">q\nMKT\n>tr|A|A_HUMAN OX=9606\naM-acTxy\n>\n---\n"
    assert (first["id"], second["id"]) == (["A", "B"], "C")
    assert second == {"id": "C", "sequence": "GG"}
    [template] = first["templates"]
    assert (template["queryIndices"], template["templateIndices"]) == ([0, 2], [3, 0])
    with pytest.raises(InputError, match="which JSON cannot express"):
        job_json(Query("by_row", tuple(parse_complex_a3m(COMPLEX)), paired_by_row=True))


def test_coordinates_are_written_with_three_decimals() -> None:
    rough = structure("1abc_A")
    moved = np.where(rough.atom_mask[..., None], rough.atom_positions + 4e-4, 0)
    query = Query("q", (Chain(("A",), "MKT", templates=(hit(),)),))
    template = replace(hit(), structure=replace(rough, atom_positions=moved.astype(np.float32)))
    near = replace(query, chains=(replace(query.chains[0], templates=(template,)),))
    assert again(near) == query


def test_a_template_written_by_foldry_is_read_back_equal() -> None:
    made = read_structure(ROOT / "tests/golden/results/fold/q/ranked_0.cif")
    template = align_template(BLOSUM62[made.aatype], made)
    query = Query("q", (Chain(("A",), made.sequence, templates=(template,)),))
    assert again(query) == query and again(query).inputs_key == query.inputs_key


def test_templates_of_other_texts_have_the_entrys_name() -> None:
    text = job_json(Query("q", (Chain(("A",), "MKT", templates=(hit("1ABC"),)),)))

    def name(text: str) -> str:
        [query] = parse_jobs(text, HERE)
        return query.chains[0].templates[0].name

    assert name(text) == "1ABC_A"
    job = json.loads(text)
    [template] = job["sequences"][0]["protein"]["templates"]
    template["mmcif"] = "\n".join(
        line for line in template["mmcif"].splitlines() if "_entry.id" not in line
    )
    assert name(json.dumps(job)) == "1ABC_A"
    template["mmcif"] = to_pdb(parse_structure(template["mmcif"].encode(), "t.cif"))
    template["templateIndices"] = [2, 0]
    assert name(json.dumps(job)) == "template_A"


@pytest.mark.parametrize(
    ("kind", "other", "e_value"),
    [
        ("Other", "E-value", 200),
        ("Other", "Bits", None),
        ("'BLAST bit score'", ".", None),
    ],
)
def test_only_an_e_value_is_read_as_one(kind: str, other: str, e_value: float | None) -> None:
    text = job_json(Query("q", (Chain(("A",), "MKT", templates=(hit(),)),)))
    job = json.loads(text)
    [template] = job["sequences"][0]["protein"]["templates"]
    for name, value in (("type", kind), ("type_other_details", other), ("value", "200")):
        template["mmcif"] += f"_ma_alignment_details.score_{name} {value}\n"
    [query] = parse_jobs(json.dumps(job), HERE)
    [found] = query.chains[0].templates
    assert (found.e_value, bool(found.how)) == (e_value, e_value is not None)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"modelSeeds": 1}, "modelSeeds that are not a list"),
        ({"modelSeeds": list(range(1001))}, "q.json has 1001 seeds: give at most 1000"),
        ({"modelSeeds": [2**32]}, "q.json has the seed 4294967296"),
        ({"modelSeeds": [True]}, "q.json has the seed True"),
        ({"modelSeeds": ["1", [2]]}, r"q.json has the seed \[2\]"),
        ({"name": 1}, "name that is not text"),
        ({"version": 9}, "version 9"),
        ({"dialect": ["alphafold3"]}, "dialect"),
        ({"userCCD": "x"}, "userCCD"),
        ({"strange": None}, "unknown key 'strange'"),
        (
            {"sequences": [{"protein": {"id": "A", "sequence": "MK"}}] * 2},
            "q.json has two chains named 'A'",
        ),
        (
            {"sequences": [{"protein": {"id": "A_1", "sequence": "MK"}}]},
            r"q.json sequence 1 has the ids \['A_1'\]",
        ),
        ({"sequences": [{"protein": {"id": 1, "sequence": "MK"}}]}, r"has the ids \[1\]"),
        ({"sequences": [{"protein": {"id": [["A"]], "sequence": "MK"}}]}, "has the ids"),
        ({"sequences": [{"protein": {"id": [], "sequence": "MK"}}]}, "has the ids"),
        (
            {"sequences": [{"ion": {"ion": "MG", "count": 2}}]},
            "is an ion, but Foldry folds only proteins",
        ),
        (
            {"sequences": [{"rnaSequence": {"sequence": "AC"}}]},
            "is RNA, but Foldry folds only proteins",
        ),
        ({"sequences": [{"lipid": {}}]}, "is of the unknown kind 'lipid'"),
        ({"sequences": [{"protein": {"id": "A"}}]}, "sequence 1 has no sequence: write its"),
        (
            {"sequences": [{"proteinChain": {"sequence": "MK", "count": 1000}}] * 3},
            "q.json has 2000 chains: fold at most 1000",
        ),
        (
            {"sequences": [{"protein": {"id": "A", "sequence": "MK", "pairedMsa": ">q\nMaK\n"}}]},
            "q.json sequence 1 has paired rows, the first of which has insertions",
        ),
        (
            {"sequences": [{"protein": {"id": "A", "sequence": "MK", "unpairedMsa": "\ud800"}}]},
            "q.json sequence 1 unpairedMsa",
        ),
    ],
)
def test_invalid_jobs_are_refused(keys: dict[str, object], said: str) -> None:
    job = json.loads(job_json(Query("q", (Chain(("A",), "MKT"),)))) | keys
    with pytest.raises(InputError, match=said):
        parse_jobs(json.dumps(job), HERE)


def test_a_hit_without_structure_is_not_written() -> None:
    chain = Chain(("A",), "MKT", templates=(replace(hit(), structure=None),))
    with pytest.raises(InputError, match="no structure"):
        job_json(Query("q", (chain,)))


def test_columns_of_a_table_need_no_name(tmp_path: Path) -> None:
    """Spreadsheets write empty rows and columns too."""
    table = tmp_path / "a.csv"
    table.write_text(",,\nid,,sequence\n\na,,MK\n")
    columns, rows = read_table(table)
    assert columns == ["id", "", "sequence"]
    assert list(rows) == [(4, {"id": "a", "": "", "sequence": "MK"})]


@pytest.mark.parametrize(
    "text", ['{"plddt": [90.0], "ptm": 0.8}', '{"order": ["model_1_ptm"]}', "{}"]
)
def test_scores_are_no_job(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"q\.json has no job: give sequences"):
        parse_jobs(text, path)
