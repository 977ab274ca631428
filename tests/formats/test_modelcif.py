"""ModelCIF files read by two independent readers."""

from __future__ import annotations

import io
from dataclasses import replace

import gemmi
import modelcif
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
        b_factor=rng.uniform(0, 100, (len(sequence), 1)).round(3) * mask,
    )
    chains = zip(names, sequences, strict=False)
    return Query("x", tuple(Chain((name,), each) for name, each in chains)), structure


@settings(max_examples=50, deadline=None)
@given(predictions())
def test_what_is_written_is_read_back(prediction: tuple[Query, Structure]) -> None:
    query, structure = prediction
    text = to_modelcif(query, structure, record(len(structure))).encode()
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
