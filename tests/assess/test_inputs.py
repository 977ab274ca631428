"""Models named as files, chains of files and folders of predictions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gemmi
import numpy as np
import pytest

from foldry.assess import inputs
from foldry.assess.inputs import plddt_of, read_model, read_reference
from foldry.errors import InputError
from foldry.formats.afdb import pae_json
from foldry.formats.coordinates import to_pdb
from foldry.formats.pae import read_pae
from foldry.query import Chain, Query
from foldry.residues import UNKNOWN
from foldry.results.folder import write_query
from foldry.results.prediction import Prediction
from foldry.structure import Structure
from tests.predict.fake import fake_prediction
from tests.score.test_match import chain, joined


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As `foldry fold` leaves it: the best prediction has two chains, of 4 and 3 residues."""
    model = joined(chain("ACDE"), chain("FGH", chain_id="B"))
    (tmp_path / "ranked_0.cif").write_text(to_pdb(model))  # PDB is recognised by what is in it
    (tmp_path / "ranking_debug.json").write_text('{"plddts": {}, "order": ["m_pred_1", "m"]}')
    (tmp_path / "pae_m_pred_1.json").write_text(pae_json(np.arange(49.0).reshape(7, 7), 31.75))
    (tmp_path / "pae_m.json").write_text(pae_json(np.zeros((7, 7)), 31.75))
    return tmp_path


def test_a_folder_is_its_best_prediction(folder: Path) -> None:
    model = read_model(str(folder))
    assert model.structure.sequence == "ACDEFGH"
    assert model.pae is not None
    assert model.pae[6].tolist() == list(range(42, 49))
    (folder / "pae_m_pred_1.json").unlink()
    assert read_model(str(folder)).pae is None
    assert read_model(str(folder), folder / "pae_m.json").pae is not None


def test_errors_of_the_chains_that_are_chosen(folder: Path) -> None:
    model = read_model(f"{folder}/ranked_0.cif:B", folder / "pae_m_pred_1.json")
    assert model.structure.sequence == "FGH"
    assert model.pae is not None
    assert model.pae.tolist() == [[32, 33, 34], [39, 40, 41], [46, 47, 48]]


WITHOUT_ATOMS = [
    ("MKXAYIA",),
    ("XXMKTAYIA",),
    ("MKTAYIAXX",),
    ("XMXKTXAYIAXXX",),
    ("XMKTAXYIA", "MKTXAYIA"),
    ("XMKTAYIX", "XXAYIAKX", "MKXX"),
    ("MKTXAYIAKX", "MKTXAYIAKX"),
    ("XMX",),
    ("M",),
    ("M", "XMKTAYIA", "XK"),
]


def prediction(sequences: tuple[str, ...]) -> Prediction:
    """A prediction without atoms of unknown residues; each entry of its PAE is unique."""
    names = "ABC"[: len(sequences)]
    parts = zip(sequences, names, strict=True)
    structure = joined(*(chain(sequence, chain_id=name) for sequence, name in parts))
    structure.atom_mask[structure.aatype == UNKNOWN] = False
    num = len(structure)
    plddt = np.linspace(50, 90, num)
    structure.b_factor[:] = plddt[:, None]
    several = len(names) > 1
    return dataclasses.replace(
        fake_prediction(alignment=False),
        query=Query("odd", tuple(Chain((n,), s) for n, s in zip(names, sequences, strict=True))),
        structure=structure,
        plddt=plddt,
        pae=np.arange(num * num, dtype=np.float32).reshape(num, num) / 10,
        iptm=0.5 if several else None,
        chain_ptm=np.full(len(names), 0.5) if several else None,
        chain_pair_iptm=np.full((len(names), len(names)), 0.5) if several else None,
        actifptm=np.full((len(names), len(names)), 0.5) if several else None,
    )


@pytest.mark.parametrize("sequences", WITHOUT_ATOMS, ids=":".join)
def test_errors_of_residues_without_atoms_are_left_out(
    tmp_path: Path, sequences: tuple[str, ...]
) -> None:
    made = prediction(sequences)
    write_query([made], tmp_path)
    letters = np.array(list("".join(sequences)))
    seen = np.flatnonzero(letters != "X")
    assert made.pae is not None
    expected = made.pae[np.ix_(seen, seen)]
    [errors] = tmp_path.glob("pae_*.json")
    for model in (
        read_model(str(tmp_path)),
        read_model(str(tmp_path / "ranked_0.cif"), errors),
        read_model(str(tmp_path / "ranked_0.pdb"), errors),
    ):
        assert model.structure.sequence == "".join(letters[seen])
        np.testing.assert_allclose(model.pae, expected, atol=0.01)
    # Other programs write no SEQRES: the rows are certain if each chain's last residue has atoms.
    bare = tmp_path / "bare.pdb"
    bare.write_text(to_pdb(made.structure))
    if any(sequence.endswith("X") for sequence in sequences):
        with pytest.raises(InputError, match="which rows belong to residues without atoms"):
            read_model(str(bare), errors)
    else:
        np.testing.assert_allclose(read_model(str(bare), errors).pae, expected, atol=0.01)


def test_a_single_residue_that_an_earlier_version_wrote(tmp_path: Path) -> None:
    """It was an entity of the type non-polymer, without a sequence."""
    write_query([prediction(("M",))], tmp_path)
    path = tmp_path / "ranked_0.cif"
    block = gemmi.cif.read_string(path.read_text()).sole_block()
    for category in ("_entity_poly.", "_entity_poly_seq.", "_pdbx_poly_seq_scheme."):
        block.find_mmcif_category(category).erase()
    block.find_values("_entity.type")[0] = "non-polymer"
    numbers = block.find_values("_atom_site.label_seq_id")
    for row in range(len(numbers)):
        numbers[row] = "."
    path.write_text(block.as_string())
    model = read_model(str(tmp_path))
    assert model.structure.sequence == "M"
    assert model.pae is not None and model.pae.shape == (1, 1)


def test_errors_of_a_chosen_chain_with_residues_without_atoms(tmp_path: Path) -> None:
    made = prediction(("XMKTAXYIA", "MKTXAYIA"))
    write_query([made], tmp_path)
    [errors] = tmp_path.glob("pae_*.json")
    assert made.pae is not None
    for suffix in ("cif", "pdb"):
        model = read_model(f"{tmp_path}/ranked_0.{suffix}:B", errors)
        rows = [9, 10, 11, 13, 14, 15, 16]
        np.testing.assert_allclose(model.pae, made.pae[np.ix_(rows, rows)], atol=0.01)


def test_errors_of_numbers_that_start_anew_or_at_zero(tmp_path: Path) -> None:
    """Numbers that do not increase from 1 do not determine the rows."""
    model = chain("ACDE")
    for numbers in ([0, 1, 2, 5], [1, 3, 2, 5]):
        model.residue_number[:] = numbers
        (tmp_path / "m.pdb").write_text(to_pdb(model))
        (tmp_path / "pae.json").write_text(pae_json(np.zeros((5, 5)), 31.75))
        with pytest.raises(InputError, match="which rows belong"):
            read_model(str(tmp_path / "m.pdb"), tmp_path / "pae.json")


def test_errors_of_another_prediction(folder: Path) -> None:
    (folder / "other.pdb").write_text(to_pdb(chain("ACD")))
    with pytest.raises(InputError, match="7 rows and the model 3 residues"):
        read_model(f"{folder}/other.pdb", folder / "pae_m.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"order": []}', '{"order": 7}'])
def test_a_folder_of_something_else(folder: Path, content: str) -> None:
    (folder / "ranking_debug.json").write_text(content)
    with pytest.raises(InputError, match="not a folder of one query"):
        read_model(str(folder))


def test_a_ranking_that_climbs_out(folder: Path) -> None:
    (folder / "ranking_debug.json").write_text('{"order": ["../../m"]}')
    (folder / "inner").mkdir()
    assert read_model(str(folder)).pae is not None  # pae_m.json of this folder


def test_a_reference_cannot_be_a_folder(folder: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_reference(str(folder))


def test_size_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.assess.inputs.MAX_RESIDUES", 6)
    with pytest.raises(InputError, match="7 residues and the limit is 6"):
        read_reference(f"{folder}/ranked_0.cif")
    assert len(read_reference(f"{folder}/ranked_0.cif:A")) == 4


def test_atoms_in_one_place_are_refused() -> None:
    num = 40_000
    heap = dataclasses.replace(
        chain("A" * 10).select(np.zeros(num, int)),
        atom_positions=np.zeros((num, 37, 3)),
        atom_mask=np.ones((num, 37), bool),
    )
    with pytest.raises(InputError, match=r"1480000 atoms .* in one place"):
        inputs._check_size(heap)
    heap.atom_positions[:, :, 0] = np.arange(num)[:, None] * 4.0  # as a stretched chain
    inputs._check_size(heap)


def test_a_stated_plddt_is_not_negative() -> None:
    assert plddt_of(model_of([50, 60, 70]), stated=True) is not None
    for values in ([50, -1, 70], [-3, 60, 70], [50, 60, 101]):
        assert plddt_of(model_of(values), stated=True) is None


def test_few_atoms_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as would be allowed in one place."""
    structure = model_of([50, 60, 70])
    monkeypatch.setattr(inputs, "_MAX_CROWDING", int(structure.atom_mask.sum()) ** 2)
    monkeypatch.setattr(np, "unique", None)
    inputs._check_size(structure)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([50, 60, 70], [50, 60, 70]),
        ([0.5, 0.6, 1.0], [50, 60, 100]),
        ([50, 60, 100], [50, 60, 100]),
        ([50, 50, 50], None),  # nothing was put there
        ([0, 0, 0], None),
        ([50, 60, 101], None),
        ([1.6, 2.5, 18], None),  # errors in Å, as of Robetta
        ([0.1, 0.15, 0.9], None),
        ([12, 21, 30], [12, 21, 30]),
        ([-1, 60, 70], None),
        ([0, 60, 70], None),  # residues without a value
        ([0, 0.6, 0.7], None),
        ([1, 0, 1], None),  # marks, as of RFdiffusion
        ([90, 90, 40], None),
        ([20.1, 20.2, 21], None),  # a constant that a minimisation has changed
        ([20.1, 20.2, 21.2], [20.1, 20.2, 21.2]),
        ([0.93, 0.91, 0.92], [93, 91, 92]),
    ],
)
def test_which_b_factors_count_as_plddt(values: list[float], expected: list[float] | None) -> None:
    structure = chain("ACD")
    structure.atom_mask[:, 2] = True
    structure.b_factor[:, 1:3] = np.array(values)[:, None]
    found = plddt_of(structure)
    assert (found is None) == (expected is None)
    assert found is None or found.tolist() == pytest.approx(expected)
    structure.b_factor[0, 2] += 1  # atoms of one residue differ: an experiment
    assert plddt_of(structure) is None
    structure.atom_mask[:, 2] = False  # one atom per residue does not show it
    assert plddt_of(structure) is None


def test_plddt_per_atom_is_reduced_to_that_of_ca(folder: Path) -> None:
    """As AlphaFold 3 writes it; the PAE shows that it is a prediction."""
    model = joined(chain("ACDE"), chain("FGH", chain_id="B"))
    model.atom_mask[:, 2] = True
    model.atom_positions[:, 2] = model.atom_positions[:, 1] + 1.5
    model.b_factor[:, 1], model.b_factor[:, 2] = np.arange(40, 47), 90
    model.atom_mask[3, 1] = False
    model.atom_mask[3, :1] = True
    model.b_factor[3, 0] = 50
    (folder / "ranked_0.cif").write_text(to_pdb(model))
    known = read_model(str(folder), folder / "pae_m.json").plddt
    assert known is not None
    assert known.tolist() == [40, 41, 42, 70, 44, 45, 46]
    assert read_model(f"{folder}/ranked_0.cif").plddt is None
    model.b_factor[5, 1] = 101
    assert plddt_of(model, predicted=True) is None


@pytest.mark.parametrize(
    ("marks", "is_plddt"),
    [
        (np.repeat([30, 60, 90], 20), False),  # domains or chains
        (np.repeat([30, 45, 60, 75, 80, 90], 10), False),
        (np.repeat([30, 45, 60, 75, 80, 85, 90], 9), True),
        (np.repeat([0.30, 0.60, 0.90], 20), True),  # rounded shares have few values
        (np.repeat([30.5, 90.5], 30), False),
        (np.tile(np.arange(1, 10), 10), False),  # grades of conservation
        (np.linspace(40, 90, 60), True),
    ],
)
def test_few_integers_are_marks(marks: np.ndarray, is_plddt: bool) -> None:
    structure = chain("A" * len(marks))
    structure.b_factor[:] = marks[:, None]
    assert (plddt_of(structure, predicted=True) is not None) == is_plddt


def model_of(values: list[float]) -> Structure:
    """Residues with two atoms of one B factor."""
    structure = chain("ACD")
    structure.atom_mask[:, 2] = True
    structure.atom_positions[:, 2] = structure.atom_positions[:, 1] + 1.5
    structure.b_factor[:, 1:3] = np.array(values)[:, None]
    return structure


def mmcif(structure: Structure, method: str = "", metrics: str = "", listed: str = "") -> str:
    """The mmCIF of a structure with a method, rows of `_ma_qa_metric` and of its local values."""
    block = gemmi.read_pdb_string(to_pdb(structure)).make_mmcif_document().sole_block()
    block.name = "x"
    text = block.as_string().replace("_exptl.", "_foldry.").rstrip() + "\n"
    text += f"_exptl.method '{method}'\n" if method else ""
    for category, tags, rows in (
        ("_ma_qa_metric", "id name mode type", metrics),
        ("_ma_qa_metric_local", "label_asym_id label_seq_id metric_id metric_value", listed),
    ):
        names = "".join(f"{category}.{tag}\n" for tag in tags.split())
        text += f"loop_\n{names}{rows}\n" if rows else ""
    return text


GLOBAL = "2 mean global pLDDT"


@pytest.mark.parametrize(
    ("metrics", "method", "values", "expected", "stated"),
    [
        ("", "", [50, 60, 70], [50, 60, 70], False),
        ("", "THEORETICAL MODEL", [50, 60, 70], [50, 60, 70], False),
        ("", "PREDICTED", [50, 60, 70], [50, 60, 70], False),
        ("", "X-RAY DIFFRACTION", [50, 60, 70], None, True),
        ("", "model, MODELLER Version 9.24", [50, 60, 70], None, True),
        ("1 error local distance", "", [50, 60, 70], None, True),
        (f"1 error local distance\n{GLOBAL}", "", [50, 60, 70], None, True),
        (f"1 E local energy\n3 pLDDT local pLDDT\n{GLOBAL}", "", [5, 9, 7], [5, 9, 7], True),
        ("1 QMEANDisCo local 'normalized score'", "", [0.5, 0.6, 0.7], None, True),
        ("1 MPQS global other", "", [50, 60, 70], None, True),
        (f"1 plddt local pLDDT\n{GLOBAL}", "", [5, 9, 7], [5, 9, 7], True),
        ("1 pLDDT local pLDDT", "", [5, 5, 5], [5, 5, 5], True),
        ("1 pLDDT local pLDDT", "X-RAY DIFFRACTION", [5, 9, 7], [5, 9, 7], True),
        ("1 pLDDT local pLDDT", "", [0, 0, 0], None, True),
        ("1 pLDDT local pLDDT", "", [5, 9, 101], None, True),
        ("1 a local 'pLDDT all-atom'", "", [5, 9, 7], [5, 9, 7], True),
        ("1 a local 'pLDDT to polymer'", "", [5, 9, 7], [5, 9, 7], True),
        ("1 a local 'pLDDT in [0,1]'", "", [0.25, 0.5, 1], [25, 50, 100], True),
        ("1 a local 'pLDDT all-atom in [0,1]'", "", [0.25, 0, 0], [25, 0, 0], True),
        ("1 pLDDT local other", "", [5, 9, 7], [5, 9, 7], True),
        ("1 'predicted lDDT' local 'normalized score'", "", [0.5, 0.5, 0], [50, 50, 0], True),
        (GLOBAL, "", [50, 60, 70], [50, 60, 70], False),
        (GLOBAL, "", [5, 9, 7], None, True),
    ],
)
def test_what_a_file_states_about_its_b_factors_is_believed(
    metrics: str, method: str, values: list[float], expected: object, stated: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m.cif"
    path.write_text(mmcif(model_of(values), method, metrics))
    model = read_model(str(path))
    assert (None if model.plddt is None else model.plddt.tolist()) == expected
    assert model.is_stated == stated


def test_a_file_with_the_plddt_of_the_whole_model_is_a_prediction(tmp_path: Path) -> None:
    """As HelixFold3 writes it: the atoms of a residue differ."""
    structure = model_of([50, 60, 70])
    structure.b_factor[:, 2] += 5
    path = tmp_path / "m.cif"
    for metrics, expected in ((GLOBAL, [50, 60, 70]), ("", None)):
        path.write_text(mmcif(structure, metrics=metrics))
        found = read_model(str(path)).plddt
        assert (None if found is None else found.tolist()) == expected


PHENIX = """REMARK   3 REFINEMENT.
REMARK   3   PROGRAM     : PHENIX 1.8.2
REMARK   3  DATA USED IN REFINEMENT.
REMARK   3   RESOLUTION RANGE HIGH (ANGSTROMS) : 3.20"""


@pytest.mark.parametrize(
    ("header", "is_plddt"),
    [
        ("EXPDTA    THEORETICAL MODEL", True),
        ("TITLE     ESMFOLD V1 PREDICTION FOR INPUT", True),
        ("EXPDTA    THEORETICAL MODEL, MODELLER 9.12 2014/08/26 13:15:44", False),
        ("EXPDTA    THEORETICAL MODEL (SWISS-MODEL SERVER)", False),
        ("EXPDTA    ELECTRON MICROSCOPY", False),
        ("REMARK   2 RESOLUTION.    3.20 ANGSTROMS.", False),
        (PHENIX, False),
        ("REMARK   2 RESOLUTION. NOT APPLICABLE.", True),
    ],
)
def test_what_the_header_of_a_pdb_file_says(header: str, is_plddt: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.pdb"
    path.write_text(f"{header}\n{to_pdb(model_of([50, 60, 70]))}")
    assert (read_model(str(path)).plddt is not None) == is_plddt


def test_a_case_of_errors_in_angstrom(cases_dir: Path) -> None:
    assert read_model(str(cases_dir / "68b-robetta-error-estimates" / "m.pdb")).plddt is None


def test_errors_of_tokens(cases_dir: Path, folder: Path) -> None:
    case = cases_dir / "83-pae-af3-ligand-tokens"
    whole = read_pae(case / "full_data_0.json").errors
    found = read_model(str(case / "m.pdb"), case / "full_data_0.json").pae
    assert found is not None
    np.testing.assert_array_equal(found, whole[:63, :63])
    # B has a ligand's tokens before it, and its second residue is modified: N, CA, C.
    chains = ["A"] * 4 + ["L"] * 2 + ["B"] * 5
    numbers = [1, 2, 3, 4, 1, 1, 1, 2, 2, 2, 3]
    pae = np.arange(121.0).reshape(11, 11)
    path = folder / "full.json"
    content = {"pae": pae.tolist(), "token_chain_ids": chains, "token_res_ids": numbers}
    path.write_text(json.dumps(content))
    rows = [0, 1, 2, 3, 6, 8, 10]
    found = read_model(f"{folder}/ranked_0.cif", path).pae
    assert found is not None and found.tolist() == pae[np.ix_(rows, rows)].tolist()
    found = read_model(f"{folder}/ranked_0.cif:B", path).pae
    assert found is not None and found.tolist() == pae[np.ix_(rows[4:], rows[4:])].tolist()
    path.write_text(json.dumps(content | {"token_chain_ids": ["A"] * 4 + ["L"] * 7}))
    with pytest.raises(InputError, match="has no token for residue 1 of chain 'B'"):
        read_model(f"{folder}/ranked_0.cif", path)
    path.write_text(json.dumps(content | {"token_res_ids": numbers[1:]}))
    with pytest.raises(InputError, match="one entry for each row"):
        read_model(f"{folder}/ranked_0.cif", path)
