"""ModelCIF files read by two independent readers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gemmi
import modelcif
import modelcif.dumper
import modelcif.model
import modelcif.qa_metric
import modelcif.reader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats.coordinates import parse_deposition, parse_structure
from foldry.formats.modelcif import ChainMetric, ModelRecord, Step, to_modelcif
from foldry.measures import MEASURES
from foldry.query import Chain, Hit, Query
from foldry.residues import ATOM37, ATOM37_MASK, RESTYPE_ORDER
from foldry.structure import Structure
from tests.formats.test_coordinates import binarycif

PLDDT = np.array([97.123, 88.5, 61.07, 42.0, 91.4])
SEQUENCE = "MGXWK"


def model(ids: tuple[str, ...] = ("A",), sequence: str = SEQUENCE) -> tuple[Query, Structure]:
    """A backbone with random coordinates, the same sequence in every chain."""
    number = len(sequence) * len(ids)
    mask = np.zeros((number, 37), bool)
    mask[:, [ATOM37.index(name) for name in ("N", "CA", "C", "O")]] = True
    plddt = np.resize(PLDDT, number)
    structure = Structure(
        name="test",
        aatype=np.array([RESTYPE_ORDER[letter] for letter in sequence * len(ids)]),
        residue_number=np.tile(np.arange(1, len(sequence) + 1), len(ids)),
        insertion_code=np.full(number, ""),
        chain_id=np.repeat(ids, len(sequence)),
        atom_positions=np.random.default_rng(0).normal(0, 50, (number, 37, 3)) * mask[..., None],
        atom_mask=mask,
        b_factor=plddt[:, None] * mask,
    )
    return Query("test", (Chain(ids, sequence),)), structure


def record(number: int = len(SEQUENCE), **changes: object) -> ModelRecord:
    about = ModelRecord(
        model_name="model_1_ptm",
        plddt=np.resize(PLDDT, number),
        ptm=0.81,
        iptm=None,
        prediction=Step(
            {"foldry": "0.1.0", "torch": "2.13.0"},
            {"seed": 7, "config": {"epsilon": 1e-5, "templates": True, "tolerance": None}},
        ),
        notice="Made with a small model.",
    )
    return replace(about, **changes)  # type: ignore[arg-type]


def test_gemmi_reads_the_same_atoms_and_plddt() -> None:
    query, structure = model()
    text = to_modelcif(query, structure, record())
    again = parse_structure(text.encode(), "again.cif")
    assert again.sequence == SEQUENCE
    np.testing.assert_array_equal(again.atom_mask, structure.atom_mask)
    np.testing.assert_allclose(again.atom_positions, structure.atom_positions, atol=6e-4)
    np.testing.assert_allclose(again.b_factor, structure.b_factor, atol=6e-4)
    block = gemmi.cif.read_string(text).sole_block()
    rows = block.find("_ma_qa_metric_local.", ["label_asym_id", "label_seq_id", "metric_value"])
    assert [(row[0], int(row[1])) for row in rows] == [("A", 1 + k) for k in range(len(SEQUENCE))]
    np.testing.assert_allclose([float(row[2]) for row in rows], PLDDT, atol=6e-4)


def test_python_modelcif_reads_the_same_atoms_and_plddt() -> None:
    query, structure = model()
    text = to_modelcif(query, structure, record())
    (system,) = modelcif.reader.read(io.StringIO(text))
    (again,) = system.model_groups[0]
    atoms = list(again.get_atoms())
    assert [atom.atom_id for atom in atoms] == ["N", "CA", "C", "O"] * len(SEQUENCE)
    positions = np.array([[atom.x, atom.y, atom.z] for atom in atoms])
    np.testing.assert_allclose(positions, structure.atom_positions[structure.atom_mask], atol=6e-4)
    np.testing.assert_allclose(
        [atom.biso for atom in atoms], structure.b_factor[structure.atom_mask], atol=6e-4
    )
    local = [m for m in again.qa_metrics if isinstance(m, modelcif.qa_metric.Local)]
    np.testing.assert_allclose([metric.value for metric in local], PLDDT, atol=6e-4)
    whole = {
        metric.type: metric.value
        for metric in again.qa_metrics
        if isinstance(metric, modelcif.qa_metric.Global)
    }
    assert whole == {"pLDDT": pytest.approx(PLDDT.mean(), abs=6e-4), "pTM": 0.81}
    assert [each.id for each in system.entities[0].sequence] == ["MET", "GLY", "UNK", "TRP", "LYS"]


def test_the_file_records_how_it_was_made() -> None:
    query, structure = model()
    block = gemmi.cif.read_string(to_modelcif(query, structure, record())).sole_block()
    software = block.find("_software.", ["name", "version"])
    assert [list(row) for row in software] == [["foldry", "0.1.0"], ["torch", "2.13.0"]]
    parameters = block.find("_ma_software_parameter.", ["name", "data_type", "value"])
    assert [list(row) for row in parameters] == [
        ["seed", "integer", "7"],
        ["config.epsilon", "string", "1e-05"],
        ["config.templates", "boolean", "YES"],
        ["config.tolerance", "string", "null"],
    ]
    usage = block.find("_pdbx_data_usage.", ["type", "name", "details"])
    kinds = {row.str(0): (row.str(1), row.str(2)) for row in usage}
    assert kinds["license"][0] == "CC BY 4.0"
    assert "Jumper" in kinds["license"][1]
    assert kinds["disclaimer"][1] == "Made with a small model."
    assert block.find_value("_ma_protocol_step.method_type") == "modeling"


def test_parameters_of_ones_own_have_their_own_licence() -> None:
    query, structure = model()
    text = to_modelcif(query, structure, record(licence="that of lab_weights.pt"))
    usage = gemmi.cif.read_string(text).sole_block().find("_pdbx_data_usage.", ["name", "details"])
    assert usage[0].str(0) == "that of lab_weights.pt"
    assert "own licence" in usage[0].str(1) and "Jumper" not in usage[0].str(1)


@pytest.mark.parametrize(
    ("name", "cited"),
    [("model_2_ptm", False), ("model_1_multimer", True), ("model_3_multimer_v3", True)],
)
def test_predictions_of_multimers_cite_both_papers(name: str, cited: bool) -> None:
    query, structure = model()
    text = to_modelcif(query, structure, record(model_name=name))
    usage = gemmi.cif.read_string(text).sole_block().find("_pdbx_data_usage.", ["details"])
    assert "Jumper" in usage[0].str(0)
    assert ("Evans et al. 2021 (doi:10.1101/2021.10.04.463034)" in usage[0].str(0)) == cited


def test_copies_of_a_chain_are_one_entity() -> None:
    query, structure = model(("A", "B"))
    text = to_modelcif(query, structure, record(10, iptm=0.5))
    block = gemmi.cif.read_string(text).sole_block()
    assert list(block.find_values("_entity.id")) == ["1"]
    assert list(block.find_values("_struct_asym.id")) == ["A", "B"]
    again = parse_structure(text.encode(), "again.cif")
    assert again.chain_id.tolist() == structure.chain_id.tolist()
    assert sorted(block.find_values("_ma_qa_metric.type")) == ["ipTM", "pLDDT", "pLDDT", "pTM"]
    described = [each.strip("'") for each in block.find_values("_ma_qa_metric.description")]
    assert "Predicted lDDT-Ca, 0-100" in described


def test_measures_of_chains_are_read_back() -> None:
    query, structure = model(("A", "B", "C"))
    nan = np.nan
    pairs = np.array([[nan, 0.5, 0.25], [0.75, nan, nan], [0.1, 0.2, nan]])
    of_chains = (
        ChainMetric(MEASURES["ptm"], np.array([0.9, 0.8, nan])),
        ChainMetric(MEASURES["ipsae"], pairs),
        ChainMetric(MEASURES["interface_pae"], 10 * pairs),
        ChainMetric(MEASURES["pdockq2"], np.array([0.1, 0.2, 0.3])),
    )
    text = to_modelcif(query, structure, record(15, iptm=0.5, of_chains=of_chains))
    block = gemmi.cif.read_string(text).sole_block()
    assert list(block.find_values("_ma_entity_instance_feature.label_asym_id")) == ["A", "B", "C"]
    (system,) = modelcif.reader.read(io.StringIO(text))
    (again,) = system.model_groups[0]

    def letters(*features: modelcif.Feature) -> str:
        return "".join(feature.asym_units[0].id for feature in features)

    metrics = again.qa_metrics
    of_pairs = {
        (each.name, letters(each.feature1, each.feature2)): each.value
        for each in metrics
        if isinstance(each, modelcif.qa_metric.FeaturePairwise)
    }
    assert of_pairs == {
        (metric.measure.name, f"{'ABC'[a]}{'ABC'[b]}"): pytest.approx(metric.values[a, b], abs=6e-4)
        for metric in of_chains[1:3]
        for a, b in np.argwhere(np.isfinite(metric.values))
    }
    single = {
        (each.name, each.type, letters(each.feature)): each.value
        for each in metrics
        if isinstance(each, modelcif.qa_metric.Feature)
    }
    assert single == {
        ("pTM", "pTM", "A"): 0.9,
        ("pTM", "pTM", "B"): 0.8,
        **{
            ("pDockQ2", "other", chain): pytest.approx(0.1 * (k + 1))
            for k, chain in enumerate("ABC")
        },
    }


def test_the_templates_that_were_read_are_aligned_to_their_chains() -> None:
    query, structure = model(("A", "B"))
    known = structure.chain("A").select(np.array([4, 0, 1, 3, 4]), "1abc_Z")
    released = Hit("1abc_Z", np.array([[0, 1], [1, 2], [3, 3]]), known, release_date="2001-02-03")
    mine = Hit("my model_Q", np.array([[4, 1], [0, 0]]), known, release_date="2001-13-03")
    crossed = Hit("2abc_A", np.array([[0, 1], [1, 0]]), known)
    about = record(10, templates={"A": [released], "B": [mine, crossed]})
    text = to_modelcif(query, structure, about)
    [system] = modelcif.reader.read(io.StringIO(text))
    first, second = system.alignments
    [pair] = first.pairs
    assert (pair.target.asym.id, pair.target.gapped_sequence) == ("A", "MGXW")
    assert (pair.target.seq_id_range, pair.template.seq_id_range) == ((1, 4), (2, 4))
    assert pair.template.gapped_sequence == "MG-W"
    assert pair.identity.value == 100.0
    [reference] = pair.template.template.references
    assert (reference.name, reference.accession) == ("PDB", "1abc")
    assert str(reference.db_version_date) == "2001-02-03"
    assert pair.template.template.asym_id == "Z"
    [other] = second.pairs
    assert other.target.asym.id == "B"
    [reference] = other.template.template.references
    assert (reference.name, reference.accession.strip()) == ("Other", "my model")
    assert reference.db_version_date is None
    assert parse_structure(text.encode(), "q.cif").sequence == structure.sequence


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Query, Structure]:
    """One to three chains of one to five letters, some of whose residues have no atoms."""
    letters = st.text("ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=5)
    sequences = draw(st.lists(letters, min_size=1, max_size=3))
    names = draw(st.permutations(["A", "B", "AA", "7", "xyz"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sequence = "".join(sequences)
    aatype = np.array([RESTYPE_ORDER[letter] for letter in sequence])
    mask = (ATOM37_MASK[aatype] > 0) & (rng.random((len(sequence), 37)) < 0.8)
    backbone = np.isin(np.arange(37), [0, 1, 2, 4])
    mask |= (aatype == RESTYPE_ORDER["X"])[:, None] & backbone
    mask &= rng.random((len(sequence), 1)) < draw(st.sampled_from([0.7, 1.0]))
    structure = Structure(
        name="x",
        aatype=aatype,
        residue_number=np.concatenate([np.arange(1, len(each) + 1) for each in sequences]),
        insertion_code=np.full(len(sequence), ""),
        chain_id=np.repeat(names[: len(sequences)], [len(each) for each in sequences]),
        atom_positions=rng.uniform(-999, 999, (len(sequence), 37, 3)).round(3) * mask[..., None],
        atom_mask=mask,
        b_factor=rng.uniform(2, 100, (len(sequence), 1)).round(3) * mask,
    )
    chains = zip(names, sequences, strict=False)
    return Query("x", tuple(Chain((name,), each) for name, each in chains)), structure


@settings(max_examples=50, deadline=None)
@given(predictions())
def test_what_is_written_is_read_back(prediction: tuple[Query, Structure]) -> None:
    query, structure = prediction
    plddt = structure.b_factor.max(axis=1)
    text = to_modelcif(query, structure, record(plddt=plddt)).encode()
    seen = structure.select(structure.atom_mask.any(axis=1))
    if not len(seen):
        with pytest.raises(InputError, match="has no atoms"):
            parse_structure(text, "x.cif")
        return
    back, deposition = parse_structure(text, "x.cif"), parse_deposition(text, "x.cif")
    arginine = seen.aatype == RESTYPE_ORDER["R"]  # NH1 and NH2 may have changed places
    for name in ("aatype", "residue_number", "insertion_code", "chain_id"):
        np.testing.assert_array_equal(getattr(back, name), getattr(seen, name))
    for name in ("atom_mask", "atom_positions", "b_factor"):
        one, other = getattr(back, name), getattr(seen, name)
        np.testing.assert_array_equal(one[~arginine], other[~arginine])
    for chain in query.chains:
        [name] = chain.ids
        if name in seen.chains:
            assert deposition.chain_to_seqres[name] == chain.sequence
            np.testing.assert_array_equal(
                deposition.chains[name].atom_mask.any(axis=1),
                structure.chain(name).atom_mask.any(axis=1),
            )


NASTY = st.text(
    st.one_of(st.sampled_from("'\"#;_\n\t $[]?.\\"), st.characters(codec="utf-8")), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(name=NASTY | st.sampled_from(["data_x", "loop_", "' \"", "\n;\ndata_evil\n", "#", ""]))
def test_no_name_breaks_the_file(name: str) -> None:
    query, structure = model()
    hit = Hit(name, np.zeros((0, 2), np.int64))
    [chain] = query.chains
    asked = replace(query, chains=(replace(chain, templates=(hit,)),))
    made = Step({"foldry": "0.1.0"}, {name: name})
    about = record(notice=f"Mind {name}", prediction=made, model_name=name)
    text = to_modelcif(asked, structure, about)
    blocks = gemmi.cif.read_string(text)
    assert [block.name for block in blocks] == ["model"]
    assert len(list(blocks[0].find_values("_atom_site.id"))) == structure.atom_mask.sum()
    assert len(list(blocks[0].find_values("_ma_software_parameter.value"))) == 1
    assert text.isascii()
    (system,) = modelcif.reader.read(io.StringIO(text))
    assert len(list(system.model_groups[0][0].get_atoms())) == structure.atom_mask.sum()


def by_modelcif(
    kinds: dict[type[modelcif.qa_metric.MetricType], list[float]], b_factors: list[list[float]]
) -> str:
    """Two chains of GLY and ALA, written by python-modelcif, with metrics of each residue.

    Args:
        kinds: Values of each metric for all four residues.
        b_factors: B factors of N and Cα of each residue.
    """
    entity = modelcif.Entity("GA")
    asyms = [modelcif.AsymUnit(entity, id=name) for name in "AB"]
    places = [(asym, number) for asym in asyms for number in (1, 2)]

    class Model(modelcif.model.AbInitioModel):  # type: ignore[misc]
        def get_atoms(self) -> Iterator[modelcif.model.Atom]:
            for row, (asym, number) in enumerate(places):
                for x, (name, biso) in enumerate(zip(("N", "CA"), b_factors[row], strict=True)):
                    yield modelcif.model.Atom(
                        asym, number, name, name[0], 1.4 * x, 3.8 * row, 0.0, biso=biso
                    )

    model = Model(modelcif.Assembly(asyms), name="model")
    for kind, values in kinds.items():
        about = {"__doc__": "A metric.", "software": None}
        metric = type("Metric", (modelcif.qa_metric.Local, kind), about)
        for (asym, number), value in zip(places, values, strict=True):
            model.qa_metrics.append(metric(asym.residue(number), value))
    system = modelcif.System()
    system.model_groups.append(modelcif.model.ModelGroup([model]))
    file = io.StringIO()
    modelcif.dumper.write(file, [system])
    return file.getvalue()


LISTED = [91.0, 82.5, 73.3, 64.1]
SHARES = [0.91, 0.825, 0.733, 0.641]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (modelcif.qa_metric.PLDDT, LISTED),
        (modelcif.qa_metric.PLDDT, SHARES),
        (modelcif.qa_metric.PLDDT01, SHARES),
        (modelcif.qa_metric.PLDDTAllAtom, LISTED),
        (modelcif.qa_metric.PLDDTAllAtom01, SHARES),
        (modelcif.qa_metric.PLDDTToPolymer, LISTED),
    ],
)
@pytest.mark.parametrize("shown", [SHARES, [3.0, 17.5, 240.0, -4.0], [0.0] * 4])
def test_the_plddt_of_each_residue_is_that_of_the_list(
    kind: type[modelcif.qa_metric.MetricType],
    values: list[float],
    shown: list[float],
    tmp_path: Path,
) -> None:
    """Whatever the B factors are, and whatever else is listed."""
    listed = {modelcif.qa_metric.Distance: [1.0, 2.0, 3.0, 4.0], kind: values}
    text = by_modelcif(listed, [[each, each] for each in shown]).encode()
    found, stated = parse_structure(text, "x.cif"), parse_deposition(text, "x.cif")
    for atom in ("N", "CA"):
        np.testing.assert_allclose(found.b_factor[:, ATOM37.index(atom)], LISTED, atol=6e-4)
    assert stated.b_factors == "pLDDT"
    assert stated.predicted
    (tmp_path / "x.cif").write_bytes(text)
    again = parse_structure(binarycif(tmp_path / "x.cif"), "x.bcif")
    np.testing.assert_allclose(again.b_factor, found.b_factor, atol=6e-4)


def test_the_first_of_several_kinds_of_plddt_counts() -> None:
    listed = {modelcif.qa_metric.PLDDT01: SHARES, modelcif.qa_metric.PLDDTAllAtom: [50.0] * 4}
    text = by_modelcif(listed, [[0.0, 0.0]] * 4).encode()
    found = parse_structure(text, "x.cif")
    np.testing.assert_allclose(found.b_factor[:, 1], LISTED, atol=6e-4)


def test_the_plddt_of_atoms_is_kept_if_that_of_the_residue_is_of_ca() -> None:
    """As Chai-1 writes it."""
    per_atom = [[80.0, each] for each in LISTED]
    text = by_modelcif({modelcif.qa_metric.PLDDT: LISTED}, per_atom).encode()
    found = parse_structure(text, "x.cif")
    np.testing.assert_allclose(found.b_factor[:, :2], per_atom, atol=6e-4)


@pytest.mark.parametrize(
    "kind",
    [
        modelcif.qa_metric.Distance,
        modelcif.qa_metric.Energy,
        modelcif.qa_metric.NormalizedScore,
        modelcif.qa_metric.ZScore,
        modelcif.qa_metric.MetricType,
    ],
)
def test_other_metrics_are_not_plddt(kind: type[modelcif.qa_metric.MetricType]) -> None:
    text = by_modelcif({kind: SHARES}, [[each, each] for each in LISTED]).encode()
    found = parse_structure(text, "x.cif")
    np.testing.assert_allclose(found.b_factor[:, ATOM37.index("CA")], LISTED, atol=6e-4)
    stated = parse_deposition(text, "x.cif")
    assert stated.b_factors == "other"
    assert not stated.predicted


def test_values_that_are_no_numbers_or_of_other_models_are_not_listed() -> None:
    text = by_modelcif({modelcif.qa_metric.PLDDT: LISTED}, [[5.0, 5.0]] * 4)
    found = parse_structure(text.replace(" 91.000", " ?").encode(), "x.cif")
    np.testing.assert_allclose(found.b_factor[:, 1], [5.0, *LISTED[1:]], atol=6e-4)
    block = gemmi.cif.read_string(text).sole_block()
    column = block.find_values("_ma_qa_metric_local.model_id")
    for row in range(4):
        column[row] = "7"  # the only model, by another name
    found = parse_structure(block.as_string().encode(), "x.cif")
    np.testing.assert_allclose(found.b_factor[:, 1], LISTED, atol=6e-4)
    column[0] = "1"
    found = parse_structure(block.as_string().encode(), "x.cif")
    np.testing.assert_allclose(found.b_factor[:, 1], 5.0)
