"""ModelCIF files, as text and as BinaryCIF, read by independent readers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import modelcif
import modelcif.dumper
import modelcif.model
import modelcif.qa_metric
import modelcif.reader
import numpy as np
import pytest
from biotite.structure.io import pdbx  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats.coordinates import parse_deposition, parse_structure
from foldry.formats.model_record import ChainMetric, ModelChain, ModelRecord, Reference, Step
from foldry.formats.modelcif import to_binarycif, to_modelcif
from foldry.formats.modelcif_read import read_modelcif
from foldry.measures import MEASURES
from foldry.query import Hit
from foldry.residues import ATOM37, ATOM37_MASK, RESTYPE_ORDER, encode_sequence
from foldry.structure import Structure
from tests.formats.atoms import assert_readers_agree
from tests.formats.test_coordinates import binarycif

PLDDT = np.array([97.12, 88.5, 61.07, 42.0, 91.4])
SEQUENCE, OTHER = "MGXWK", "KGXWM"
ABL1 = Reference(
    "P00520",
    "ABL1_MOUSE",
    "P00520-4",
    start=12,
    end=16,
    gene="Abl1",
    organism="Mus musculus",
    tax_id=10090,
    checksum="25CA38DA8D564483",
    version_date="2007-01-23",
)


def model(ids: tuple[str, ...] = ("A",), sequence: str = SEQUENCE) -> Structure:
    """A backbone with random coordinates, the same sequence in every chain."""
    number = len(sequence) * len(ids)
    mask = np.zeros((number, 37), bool)
    mask[:, [ATOM37.index(name) for name in ("N", "CA", "C", "O")]] = True
    places = np.random.default_rng(0).normal(0, 50, (number, 37, 3)).round(3)
    return Structure(
        name="test",
        aatype=encode_sequence(sequence * len(ids)),
        residue_number=np.tile(np.arange(1, len(sequence) + 1), len(ids)),
        insertion_code=np.full(number, ""),
        chain_id=np.repeat(ids, len(sequence)),
        atom_positions=np.where(mask[..., None], places, 0),
        atom_mask=mask,
        b_factor=np.resize(PLDDT, number)[:, None] * mask,
    )


def record(ids: tuple[str, ...] = ("A",), **changes: Any) -> ModelRecord:
    """The record of a model."""
    structure = model(ids)
    about = ModelRecord(
        entry_id="test",
        title="Prediction of test by model_1_ptm",
        authors=("Foldry",),
        structure=structure,
        chains=(ModelChain(ids, SEQUENCE, "a test protein"),),
        plddt=structure.b_factor[:, 1],
        scores={"ptm": 0.81},
        model_name="model_1_ptm",
        created="2025-11-20T12:00:00Z",
        prediction=Step(
            {"foldry": "0.1.0", "torch": "2.13.0"},
            {"seed": 7, "config": {"epsilon": 1e-5, "templates": True, "tolerance": None}},
        ),
        notice="Made with a small model.",
        licence="CC BY 4.0",
        inputs="Predicted from the sequence.",
    )
    return replace(about, **changes)


def block_of(about: ModelRecord) -> gemmi.cif.Block:
    """The only data block of the text of a record."""
    return gemmi.cif.read_string(to_modelcif(about)).sole_block()


def table(block: gemmi.cif.Block, category: str, *tags: str) -> list[list[str]]:
    """Columns of a category, row by row, without quotation marks."""
    return [[row.str(n) for n in range(len(tags))] for row in block.find(category, list(tags))]


def everything() -> ModelRecord:
    """Two copies of a chain and one other, with all that a record can say."""
    structure = model(("A", "B", "C"))
    known = structure.chain("A").select(np.array([4, 0, 1, 3, 4]), "1abc_Z")
    nan = np.nan
    pairs = np.array([[nan, 0.5, 0.25], [0.75, nan, nan], [0.1, 0.2, nan]])
    return record(
        ("A", "B", "C"),
        entry_id="AF-1234567000000001",
        authors=("Foldry", 'O\'Brien "the 2nd"'),
        structure=replace(
            structure,
            aatype=encode_sequence(SEQUENCE * 2 + OTHER),
            residue_number=np.append(structure.residue_number[:10], [-1, 0, 7, 7, 8]),
            insertion_code=np.array([""] * 13 + ["A", ""]),
        ),
        chains=(
            ModelChain(("A", "B"), SEQUENCE, "Tyrosine-protein kinase ABL1", ABL1),
            ModelChain(("C",), OTHER),
        ),
        scores={"ptm": 0.81, "iptm": 0.5, "ranking_confidence": 0.75},
        of_chains=(
            ChainMetric(MEASURES["mean_plddt"], np.array([90.5, 80.25, nan])),
            ChainMetric(MEASURES["ptm"], np.array([0.9, 0.8, nan])),
            ChainMetric(MEASURES["ipsae"], pairs),
            ChainMetric(MEASURES["interface_pae"], 10 * pairs),
            ChainMetric(MEASURES["pdockq2"], np.array([0.1, 0.2, 0.3])),
        ),
        secondary_structure="HHHBEEEGIPTTS--",
        version=3,
        licence="that of lab_weights.pt",
        relaxation=Step({"openmm": "8.2", "pdbfixer": ""}, {"iterations": 3}),
        templates={
            "A": (
                Hit("1abc_Z", np.array([[0, 1], [1, 2], [3, 3]]), known, release_date="2001-02-03"),
            ),
            "C": (Hit("my model_Q", np.array([[4, 1], [0, 0]])[::-1], known),),
        },
    )


# Independent readers


def test_other_readers_find_the_same_atoms(tmp_path: Path) -> None:
    about = everything()
    text, binary = tmp_path / "model.cif", tmp_path / "model.bcif"
    text.write_text(to_modelcif(about))
    binary.write_bytes(to_binarycif(about))
    for path in (text, binary):
        assert_readers_agree(path, about.structure)


@pytest.mark.parametrize("binary", [False, True])
def test_python_modelcif_reads_all_that_the_record_says(binary: bool) -> None:
    about = everything()
    if binary:
        file: Any = io.BytesIO(to_binarycif(about))
    else:
        file = io.StringIO(to_modelcif(about))
    [system] = modelcif.reader.read(file, format="BCIF" if binary else "mmCIF")
    assert (system.id, system.title) == (about.entry_id, about.title)
    assert system.authors == list(about.authors)
    first, second = system.entities
    assert [each.id for each in first.sequence] == ["MET", "GLY", "UNK", "TRP", "LYS"]
    assert [each.id for each in second.sequence] == ["LYS", "GLY", "UNK", "TRP", "MET"]
    asyms = {asym.id: asym.entity for asym in system.asym_units}
    assert asyms == {"A": first, "B": first, "C": second}
    [reference] = first.references
    assert (reference.accession, reference.code) == ("P00520", "ABL1_MOUSE")
    assert (reference.align_begin, reference.align_end) == (12, 16)
    assert (reference.organism_scientific, reference.ncbi_taxonomy_id) == ("Mus musculus", "10090")
    [[again]] = system.model_groups
    atoms = list(again.get_atoms())
    structure = about.structure
    places = np.array([[atom.x, atom.y, atom.z] for atom in atoms])
    np.testing.assert_allclose(places, structure.atom_positions[structure.atom_mask], atol=1e-6)
    np.testing.assert_allclose(
        [atom.biso for atom in atoms], structure.b_factor[structure.atom_mask], atol=1e-6
    )
    of_residues = [each for each in again.qa_metrics if isinstance(each, modelcif.qa_metric.Local)]
    np.testing.assert_allclose([each.value for each in of_residues], about.plddt)
    whole = {
        (each.name, each.type): each.value
        for each in again.qa_metrics
        if isinstance(each, modelcif.qa_metric.Global)
    }
    assert whole == {
        ("pLDDT", "pLDDT"): pytest.approx(about.plddt.mean(), abs=6e-3),
        ("pTM", "pTM"): 0.81,
        ("ipTM", "ipTM"): 0.5,
        ("Ranking", "other"): 0.75,
    }
    steps = [(step.method_type, step.name) for step in system.protocols[0].steps]
    assert steps == [("modeling", "Prediction"), ("model refinement", "Relaxation")]
    # Everything that the program checks before it writes, e.g. that sequences fit their atoms.
    modelcif.dumper.write(io.StringIO(), [system])


def test_measures_of_chains_are_read_back() -> None:
    about = everything()
    [system] = modelcif.reader.read(io.StringIO(to_modelcif(about)))
    [[again]] = system.model_groups

    def letters(*features: modelcif.Feature) -> str:
        return "".join(feature.asym_units[0].id for feature in features)

    found = {
        (each.name, letters(each.feature1, each.feature2)): each.value
        for each in again.qa_metrics
        if isinstance(each, modelcif.qa_metric.FeaturePairwise)
    } | {
        (each.name, letters(each.feature)): each.value
        for each in again.qa_metrics
        if isinstance(each, modelcif.qa_metric.Feature)
    }
    assert found == {
        (metric.measure.name, "".join("ABC"[k] for k in place)): pytest.approx(
            metric.values[tuple(place)]
        )
        for metric in about.of_chains
        for place in np.argwhere(np.isfinite(metric.values)).tolist()
    }


def test_the_file_records_how_it_was_made() -> None:
    block = block_of(record())
    software = table(block, "_software.", "name", "version")
    assert software == [["foldry", "0.1.0"], ["torch", "2.13.0"]]
    assert table(block, "_ma_software_parameter.", "name", "data_type", "value") == [
        ["created", "string", "2025-11-20T12:00:00Z"],
        ["seed", "integer", "7"],
        ["config.epsilon", "float", "1e-05"],
        ["config.templates", "boolean", "YES"],
        ["config.tolerance", "string", "null"],
    ]
    usage = {
        kind: rest for kind, *rest in table(block, "_pdbx_data_usage.", "type", "name", "details")
    }
    assert usage["license"][0] == "CC BY 4.0"
    assert "Jumper" in usage["license"][1]
    assert usage["disclaimer"][1] == "Made with a small model."
    assert block.find_value("_ma_protocol_step.method_type") == "modeling"
    assert next(iter(block.find_values("_citation_author.name"))) == "'Jumper, J.'"


def test_parameters_of_ones_own_have_their_own_licence() -> None:
    block = block_of(record(licence="that of lab_weights.pt"))
    [[name, details], _] = table(block, "_pdbx_data_usage.", "name", "details")
    assert name == "that of lab_weights.pt"
    assert "own licence" in details and "Jumper" not in details


@pytest.mark.parametrize(
    ("software", "licence", "said", "cited"),
    [
        ("Boltz", "", [], 0),
        ("Boltz", "CC BY 4.0", ["This prediction is available under CC BY 4.0"], 0),
        ("ColabFold", "", [], 34),
        ("AlphaFold", "CC BY 4.0", ["parameters of AlphaFold and of mini are available"], 34),
    ],
)
def test_models_of_other_programs_have_the_licence_that_is_known(
    software: str, licence: str, said: list[str], cited: int
) -> None:
    about = record(licence=licence, notice="", prediction=Step({software: "1"}, {}))
    block = block_of(about)
    found = table(block, "_pdbx_data_usage.", "name", "details")
    assert [name for name, _ in found] == ["CC BY 4.0"] * len(said)
    assert all(words in details for words, (_, details) in zip(said, found, strict=True))
    assert len(block.find_values("_citation_author.name")) == cited
    assert read_modelcif(to_binarycif(about), "x").licence == licence


@pytest.mark.parametrize(
    ("name", "cited"),
    [("model_2_ptm", False), ("model_1_multimer", True), ("model_3_multimer_v3", True)],
)
def test_predictions_of_multimers_cite_both_papers(name: str, cited: bool) -> None:
    [[details], _] = table(block_of(record(model_name=name)), "_pdbx_data_usage.", "details")
    assert "Jumper" in details
    assert ("Evans et al. 2021 (doi:10.1101/2021.10.04.463034)" in details) == cited


def test_copies_of_a_chain_are_one_entity() -> None:
    block = block_of(record(("A", "B"), scores={"ptm": 0.8, "iptm": 0.5}))
    assert list(block.find_values("_entity.id")) == ["1"]
    assert table(block, "_struct_asym.", "id", "entity_id") == [["A", "1"], ["B", "1"]]
    assert sorted(block.find_values("_ma_qa_metric.type")) == ["ipTM", "pLDDT", "pLDDT", "pTM"]
    described = [each for [each] in table(block, "_ma_qa_metric.", "description")]
    assert "Predicted lDDT-Ca, 0-100" in described


def test_the_entry_of_uniprot_is_stated_for_the_chain_and_for_each_atom() -> None:
    block = block_of(everything())
    of_entity = ("db_name", "pdbx_db_accession", "pdbx_align_begin", "pdbx_seq_one_letter_code")
    assert table(block, "_struct_ref.", *of_entity) == [["UNP", "P00520", "12", SEQUENCE]]
    tags = ("pdbx_strand_id", "seq_align_beg", "seq_align_end", "db_align_beg", "db_align_end")
    assert table(block, "_struct_ref_seq.", *tags) == [
        ["A", "1", "5", "12", "16"],
        ["B", "1", "5", "12", "16"],
    ]
    of_atom = ("label_asym_id", *(f"pdbx_sifts_xref_db_{each}" for each in ("acc", "num", "res")))
    atoms = table(block, "_atom_site.", *of_atom)
    assert atoms[::4] == [
        *([name, "P00520", str(12 + k), SEQUENCE[k]] for name in "AB" for k in range(5)),
        *(["C", "", "", ""] for _ in range(5)),
    ]


def test_the_secondary_structure_is_listed_as_runs_of_one_letter_in_one_chain() -> None:
    tags = ("conf_type_id", "beg_label_asym_id", "beg_label_seq_id", "end_label_seq_id")
    block = block_of(everything())
    assert table(block, "_struct_conf.", *tags) == [
        ["HELX_RH_AL_P", "A", "1", "3"],
        ["STRN", "A", "4", "4"],
        ["STRN", "A", "5", "5"],
        ["STRN", "B", "1", "2"],
        ["HELX_RH_3T_P", "B", "3", "3"],
        ["HELX_RH_PI_P", "B", "4", "4"],
        ["HELX_LH_PP_P", "B", "5", "5"],
        ["TURN_TY1_P", "C", "1", "2"],
        ["BEND", "C", "3", "3"],
    ]
    assert {kind for [kind] in table(block, "_struct_conf_type.", "id")} == {
        kind for kind, *_ in table(block, "_struct_conf.", *tags)
    }


def test_the_templates_that_were_read_are_aligned_to_their_chains() -> None:
    known = model().select(np.array([4, 0, 1, 3, 4]), "1abc_Z")
    released = Hit("1abc_Z", np.array([[0, 1], [1, 2], [3, 3]]), known, release_date="2001-02-03")
    mine = Hit("my model_Q", np.array([[4, 1], [0, 0]]), known, release_date="2001-13-03")
    crossed = Hit("2abc_A", np.array([[0, 1], [1, 0]]), known)
    about = record(("A", "B"), templates={"A": [released], "B": [mine, crossed]})
    text = to_modelcif(about)
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
    assert (reference.name, reference.accession) == ("Other", "my model")
    assert reference.db_version_date is None
    assert parse_structure(text.encode(), "q.cif").sequence == about.structure.sequence


def test_a_model_with_a_number_that_is_not_finite_is_refused() -> None:
    about = record()
    places = about.structure.atom_positions.copy()
    places[0, 1, 0] = np.nan
    broken = replace(about, structure=replace(about.structure, atom_positions=places))
    for write in (to_modelcif, to_binarycif):
        with pytest.raises(InputError, match="not finite"):
            write(broken)
    with pytest.raises(InputError, match="not finite"):
        to_modelcif(record(plddt=np.full(5, np.inf)))


@pytest.mark.parametrize(
    "value", [0.0005, -0.0005, 1.0005, 2.0625, 1e-9, -1e-9, 9999.9995, 123456.7895]
)
def test_coordinates_are_rounded_to_the_nearest_thousandth(value: float) -> None:
    about = record()
    places = about.structure.atom_positions.copy()
    places[0, 1, 0] = value
    moved = replace(about, structure=replace(about.structure, atom_positions=places))
    [x] = table(block_of(moved), "_atom_site.", "Cartn_x")[1]
    assert abs(float(x) - value) <= 0.0005 * (1 + 1e-9)
    assert x != "-0.000" and len(x.partition(".")[2]) == 3
    [again, *_] = parse_structure(to_binarycif(moved), "x.bcif").atom_positions[0, 1].tolist()
    assert again == float(x)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Structure, list[tuple[str, str]]]:
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
    plddt = rng.uniform(2, 100, len(sequence)).round(2)
    structure = Structure(
        name="x",
        aatype=aatype,
        residue_number=np.concatenate([np.arange(1, len(each) + 1) for each in sequences]),
        insertion_code=np.full(len(sequence), ""),
        chain_id=np.repeat(names[: len(sequences)], [len(each) for each in sequences]),
        atom_positions=rng.uniform(-999, 999, (len(sequence), 37, 3)).round(3) * mask[..., None],
        atom_mask=mask,
        b_factor=plddt[:, None] * mask,
    )
    return structure, list(zip(names, sequences, strict=False))


def recorded(structure: Structure, chains: list[tuple[str, str]], **changes: Any) -> ModelRecord:
    """The record of a prediction."""
    return record(
        entry_id=structure.name,
        structure=structure,
        chains=tuple(ModelChain((name,), each) for name, each in chains),
        plddt=structure.b_factor.max(axis=1),
        **changes,
    )


@settings(max_examples=50, deadline=None)
@given(predictions())
def test_what_is_written_is_read_as_a_structure(
    prediction: tuple[Structure, list[tuple[str, str]]],
) -> None:
    structure, chains = prediction
    about = recorded(structure, chains)
    text = to_modelcif(about).encode()
    seen = structure.select(np.asarray(structure.atom_mask.any(axis=1)))
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
    for name, sequence in chains:
        if name in seen.chains:
            assert deposition.chain_to_seqres[name] == sequence
            np.testing.assert_array_equal(
                deposition.chains[name].atom_mask.any(axis=1),
                structure.chain(name).atom_mask.any(axis=1),
            )


NASTY = st.text(
    st.one_of(st.sampled_from("'\"#;_\n\t $[]?.\\"), st.characters(codec="utf-8")), max_size=30
) | st.sampled_from(["data_x", "loop_", "' \"", "\n;\ndata_evil\n", "\";'", "#", "", "?", "."])


@settings(max_examples=60, deadline=None)
@given(name=NASTY)
def test_no_text_breaks_the_file(name: str) -> None:
    known = model().select(np.array([0, 1]), "x")
    hit = Hit(name, np.array([[0, 0], [1, 1]]), known, release_date=name)
    about = record(
        entry_id=name,
        title=name,
        authors=(name,),
        chains=(ModelChain(("A",), SEQUENCE, name, replace(ABL1, code=name, organism=name)),),
        notice=f"Mind {name}",
        prediction=Step({name: name}, {name: name}),
        model_name=name,
        inputs=name,
        templates={"A": [hit]},
    )
    text, data = to_modelcif(about), to_binarycif(about)
    assert text.isascii()
    [block] = gemmi.cif.read_string(text)
    count = about.structure.atom_mask.sum()
    assert len(block.find_values("_atom_site.id")) == count
    assert len(block.find_values("_ma_software_parameter.value")) == 2
    for file, kind in ((io.StringIO(text), "mmCIF"), (io.BytesIO(data), "BCIF")):
        [system] = modelcif.reader.read(file, format=kind)
        assert len(list(system.model_groups[0][0].get_atoms())) == count
    assert len(pdbx.CIFFile.read(io.StringIO(text)).block["atom_site"]["id"].as_array()) == count


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
