"""The public names: their list, their use, and the promises of results and errors."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import foldry
from tests.conftest import ROOT
from tests.predict.fake import fake_complex

NAMES = [
    *("Alignment", "BusyError", "Chain", "DiskFullError", "FaultError", "FoldryError", "Hit"),
    *("InputError", "MemoryShortError", "MissingError", "OutsideError", "Prediction"),
    *("Provenance", "Query", "Relaxation", "Scores", "Settings", "Structure", "Weights"),
    *("compare", "fold", "load_weights", "read_query", "read_structure", "relax_structure"),
    *("search_query", "to_pdb"),
]
EXAMPLE = ROOT / "examples" / "kunitz"
SEQUENCE = "MKVLAAGIVGLCAKYWE"


def query(name: str = "q") -> foldry.Query:
    return foldry.Query(name, (foldry.Chain(("A",), SEQUENCE),))


def test_the_public_names_are_these() -> None:
    assert sorted(foldry.__all__) == dir(foldry) == sorted(NAMES)
    with pytest.raises(AttributeError, match="no attribute 'score_model'"):
        _ = foldry.score_model


def test_no_public_name_is_a_room() -> None:
    rooms = {module.name for module in pkgutil.iter_modules(foldry.__path__)}
    assert rooms & set(NAMES) == set()


def test_every_name_can_be_called_after_all_rooms_were_imported() -> None:
    """A room's name, once imported, would hide a function of that name."""
    program = f"""
import importlib, pkgutil
import numpy as np
import foldry
for module in pkgutil.walk_packages(foldry.__path__, "foldry."):
    importlib.import_module(module.name)
structure = foldry.read_structure("examples/kunitz/1adz.cif")
query = foldry.read_query("examples/kunitz/1adz.a3m")
made = foldry.fold(query, num_recycles=0, device="cpu")[0]
try:
    foldry.relax_structure(structure, max_rounds=1, max_seconds=1e-3)
except foldry.MissingError as error:  # without OpenMM
    assert "OpenMM" in str(error)
alignment = foldry.Alignment.of(["q"], ["MKT"])
chain = foldry.Chain(("A",), "MKT", alignment)
called = [
    made,
    made.provenance,
    foldry.compare(structure, structure),
    foldry.load_weights(),
    foldry.Query("q", (chain,)),
    foldry.Hit("1adz_A", np.array([[0, 0]]), structure),
    foldry.Settings(seeds=(1,)),
    foldry.Relaxation(False, "It was not asked for."),
    alignment,
    chain,
    structure,
]
functions = {{name for name in {NAMES} if name.islower()}}
errors = {{name for name in {NAMES} if name.endswith("Error")}}
assert {{type(each).__name__ for each in called}} == set({NAMES}) - functions - errors
for name in errors:
    error = getattr(foldry, name)("is wrong", "do it otherwise", where="q.fasta")
    assert str(error) == "q.fasta is wrong: do it otherwise." and error.code
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr


def test_public_functions_and_types_have_examples_and_reasons() -> None:
    for name in NAMES:
        about = inspect.getdoc(getattr(foldry, name)) or ""
        assert about, name
        if name.islower():
            assert "Raises:" in about and "Example:" in about, name


def test_the_signature_of_fold_names_every_setting() -> None:
    names = set(inspect.signature(foldry.fold).parameters)
    assert {each.name for each in fields(foldry.Settings)} <= names
    with pytest.raises(TypeError, match="num_recycle"):
        foldry.fold(query(), num_recycle=3)


def test_help_explains_every_setting() -> None:
    for name in ("fold", "Settings"):
        about = inspect.getdoc(getattr(foldry, name)) or ""
        for each in fields(foldry.Settings):
            assert f"\n    {each.name}: {each.metadata['setting'].help}" in about


def test_types_are_shown_without_their_arrays() -> None:
    structure = foldry.read_structure(EXAMPLE / "1adz.cif")
    assert repr(structure) == "Structure('1adz', 63 residues, chains A)"
    made, query = fake_complex(), foldry.read_query(EXAMPLE / "1adz.a3m")
    hit = foldry.Hit("1adz_A", np.array([[0, 0]]), structure)
    values = [made, made.provenance, query, *query.chains, query.chains[0].alignment, hit]
    for value in (*values, foldry.load_weights(), foldry.compare(structure, structure)):
        assert repr(value).startswith(type(value).__name__) and len(repr(value)) < 100


def test_documented_modules_need_no_import() -> None:
    program = "import foldry; print(foldry.measures.MEASURES, foldry.errors.InputError)"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_structure_is_read_compared_and_equals_itself() -> None:
    structure = foldry.read_structure(str(EXAMPLE / "1adz.cif"))
    again = foldry.read_structure(EXAMPLE / "1adz.cif")
    assert structure == again and hash(structure) == hash(again)
    assert structure != foldry.read_structure(ROOT / "examples/trypsin/1trn.cif")
    assert foldry.compare(structure, again).tm_score == pytest.approx(1)


def test_a_query_is_read_and_equals_itself() -> None:
    first, again = (foldry.read_query(str(EXAMPLE / "1adz.a3m")) for _ in range(2))
    assert first == again and len({first, again}) == 1
    assert first != foldry.read_query(EXAMPLE / "1adz.fasta")
    several = ROOT / "examples" / "malate_dehydrogenase" / "1mld_AB.fasta"
    with pytest.raises(foldry.InputError, match="has 2 queries"):
        foldry.read_query(several)


def test_the_bundled_weights_are_loaded() -> None:
    weights = foldry.load_weights()
    assert weights.config.name == "mini" and weights.num_parameters > 1_000_000


def test_a_prediction_equals_itself_and_the_random_state_stays() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    [first] = foldry.fold(query(), num_recycles=0, device="cpu", dropout=True)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])
    [again] = foldry.fold(query(), num_recycles=0, device="cpu", dropout=True)
    assert first.structure == again.structure
    assert {first: 1}[first] == 1
    assert (first == again) is (first.provenance == again.provenance)


def test_structured_types_compare_and_hash() -> None:
    prediction = fake_complex()
    structure, chain = prediction.structure, prediction.query.chains[0]
    assert chain.alignment is not None
    hit = foldry.Hit("1mld_A", np.array([[0, 0]]), structure)
    scores = foldry.compare(structure, structure)
    weights = foldry.load_weights()
    values = [prediction, structure, chain, chain.alignment, hit, scores, weights]
    values += [prediction.query, prediction.provenance, foldry.Settings(), foldry.Relaxation(True)]
    assert {type(each).__name__ for each in values} == {
        name for name in NAMES if not name.endswith("Error") and name[0].isupper()
    }
    for one in values:
        assert [one == other for other in values].count(True) == 1
    assert len(set(values)) == len(values)
    assert fake_complex().provenance == prediction.provenance


def test_values_of_other_types_are_refused() -> None:
    """The message is one sentence; the separate process does not check types itself."""
    program = """
import foldry
structure = foldry.read_structure("examples/kunitz/1adz.cif")
query = foldry.read_query("examples/kunitz/1adz.a3m")
for call, said in (
    (lambda: foldry.compare("1adz.cif", structure), "foldry.read_structure"),
    (lambda: foldry.compare(structure, foldry.Settings()), "is not a structure"),
    (lambda: foldry.to_pdb("1adz.cif"), "'1adz.cif' is not a structure"),
    (lambda: foldry.read_structure("examples/kunitz/1adz.cif:A"), "`Structure.chain`"),
    (lambda: foldry.read_structure(3), "3 is not the name of a file"),
    (lambda: foldry.read_structure("examples/kunitz/1adz.cif", "A"), "'A' is not the number of"),
    (lambda: foldry.read_query(""), "'' is not the name of a file"),
    (lambda: foldry.read_query(query), "is not the name of a file"),
    (lambda: foldry.load_weights(3), "3 is not the name of a file"),
    (lambda: foldry.load_weights(""), "'' is not the name of a file"),
    (lambda: structure.chain("Z"), "1adz has no chain 'Z': choose from A."),
    (lambda: foldry.fold(""), "'' is not the name of a file"),
    (lambda: foldry.fold(3), "3 is not one query"),
    (lambda: foldry.fold([query, query]), "is not one query"),
    (lambda: foldry.fold("MKTAYIAKQR"), "foldry.Query("),
    (lambda: foldry.fold(query, templates=3), "3 is not the name of a file"),
    (lambda: foldry.fold(query, templates=""), "'' is not the name of a file"),
    (lambda: foldry.fold(query, out=""), "'' is not the name of a file"),
    (lambda: foldry.Query("q", "MKT"), "'MKT' is not a chain of query q"),
    (lambda: foldry.Query("q", None), "None is not a chain of query q"),
    (lambda: foldry.Query(3, query.chains), "A query cannot be named 3"),
    (lambda: foldry.Query("q", query.chains, seeds="3"), "has the seed '3'"),
    (lambda: foldry.Chain(3, "MKT"), "has the ids [3]"),
    (lambda: foldry.Chain(("A",), 3), "has the sequence 3"),
    (lambda: foldry.Chain(("A",), "MKT", "MKT"), "'MKT' is not an alignment"),
    (lambda: foldry.Chain(("A",), "MKT", templates=[3]), "3 is not a template"),
    (lambda: foldry.Alignment.of(["q"], "MKT"), "'MKT' is not a list"),
    (lambda: foldry.Alignment.of(["q"], [3]), "[3] is not a list of text"),
    (lambda: foldry.Hit("1adz_A", [0, 1]), "The pairs of hit '1adz_A' are [0, 1]"),
    (lambda: foldry.relax_structure(None), "None is not a structure"),
    (lambda: foldry.relax_structure(structure, max_rounds=0), "`max_rounds` is 0"),
    (lambda: foldry.relax_structure(structure, max_rounds="x"), "`max_rounds` is 'x'"),
    (lambda: foldry.relax_structure(structure, max_seconds=float("nan")), "`max_seconds` is nan"),
):
    try:
        call()
    except foldry.InputError as error:
        assert said in str(error), error
    else:
        raise AssertionError(said)
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": ()}, "at least one network"),
        ({"models": 1.0}, "such as"),
        ({"max_msa": 8}, "512"),
        ({"weights": None}, "write mini"),
        ({"num_recycles": 101}, "from 0 to 100"),
        ({"relax_rounds": True}, "from 1 to 100"),
        ({"dropout": "yes"}, "True or False"),
        ({"pairing": "all"}, "alphafold, greedy, complete or none"),
    ],
)
def test_settings_say_what_is_wrong(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(foldry.InputError, match=said):
        foldry.fold(query(), **wrong)


def test_one_template_may_be_named_as_on_the_command_line() -> None:
    example = foldry.read_query(EXAMPLE / "1adz.fasta")
    structure = str(EXAMPLE / "1adz.cif")
    [one] = foldry.fold(example, templates=f"{structure}:A", num_recycles=0)
    [same] = foldry.fold(example, templates=[structure], num_recycles=0)
    assert [hit.name for hit in one.query.chains[0].templates] == ["1adz_A"]
    assert one.structure == same.structure


def test_names_for_type_checkers_are_the_names() -> None:
    tree = ast.parse(Path(foldry.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    typed = {each.asname for node in imports for each in node.names if each.asname}
    assert typed == set(NAMES)


def test_a_second_call_removes_files_that_the_first_one_listed(tmp_path: Path) -> None:
    foldry.fold(query(), out=tmp_path, num_recycles=0, seeds=(0, 1))
    listed = set(json.loads((tmp_path / "q" / "fold.json").read_text())["files"])
    assert "ranked_1.cif" in listed
    for name in ("ranked_7.cif", "notes.txt"):
        (tmp_path / "q" / name).write_text("mine")
    foldry.fold(query(), out=tmp_path, num_recycles=0, seeds=(2,))
    listed = set(json.loads((tmp_path / "q" / "fold.json").read_text())["files"])
    there = {path.name for path in (tmp_path / "q").iterdir()}
    assert there == listed | {"fold.json", "ranked_7.cif", "notes.txt"}
    assert "ranked_1.cif" not in there


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: query("../evil"),
        lambda: query(""),
        lambda: query("a/b"),
        lambda: query(".hidden"),
        lambda: query("a\0b"),
        lambda: foldry.Query("q", ()),
        lambda: foldry.Query("q", (foldry.Chain(("A",), "MK"), foldry.Chain(("A",), "MV"))),
        lambda: foldry.Query("q", (foldry.Chain(("A", "A"), "MK"),)),
        lambda: foldry.Query("q", (foldry.Chain(("A",), "MK"),), seeds=(-1,)),
        lambda: foldry.Query("q", (foldry.Chain(("A",), "MK"),), seeds=(2**32,)),
        lambda: foldry.Chain(("",), "MK"),
        lambda: foldry.Chain(("A B",), "MK"),
        lambda: foldry.Chain((), "MK"),
        lambda: foldry.Chain(("A",), ""),
        lambda: foldry.Chain(("A",), "mk1"),
    ],
)
def test_invalid_queries_are_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(foldry.InputError):
        wrong()


@pytest.mark.parametrize(
    "module",
    [
        *("formats.coordinates", "inputs.queries", "measures", "predict.runner"),
        *("predict.settings", "relax.relax", "score.compare", "weights.read"),
        *("formats.npz", "store.hashes", "store.objects", "store.sections", "weights.networks"),
        *("formats.afdb", "residues", "structure", "query", "errors"),
        *("formats.a3m", "formats.sequence", "formats.stockholm"),
    ],
)
def test_examples_of_docstrings_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(importlib.import_module(f"foldry.{module}"))
    assert found.attempted and not found.failed
