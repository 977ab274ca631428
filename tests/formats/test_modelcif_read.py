"""Files of predictions, read: Foldry's own come back exactly, and those of other programs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gemmi
import modelcif
import modelcif.data
import modelcif.dumper
import modelcif.model
import modelcif.protocol
import modelcif.qa_metric
import modelcif.reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats import modelcif_read, modelcif_read_history
from foldry.formats.coordinates import parse_deposition, to_pdb
from foldry.formats.model_record import ModelChain, ModelRecord, Reference, Step
from foldry.formats.modelcif import to_binarycif, to_modelcif
from foldry.formats.modelcif_atoms import read_atoms
from foldry.formats.modelcif_read import read_modelcif
from foldry.query import Hit
from foldry.residues import ATOM37, RESTYPE_ORDER
from foldry.structure import Structure
from tests.conftest import ROOT
from tests.formats.test_modelcif import (
    ABL1,
    NASTY,
    SEQUENCE,
    everything,
    model,
    predictions,
    record,
    recorded,
)

WRITERS: dict[str, Callable[[ModelRecord], bytes]] = {
    "cif": lambda about: to_modelcif(about).encode(),
    "bcif": to_binarycif,
}


def assert_read_exactly(about: ModelRecord) -> None:
    """Every format gives a record of which both formats are the same bytes."""
    written = {kind: write(about) for kind, write in WRITERS.items()}
    for kind, data in written.items():
        again = read_modelcif(data, f"x.{kind}")
        for other, write in WRITERS.items():
            assert write(again) == written[other], f"{kind} → {other}"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_record_comes_back_exactly(kind: str) -> None:
    """Nested parameters get dotted names, and templates lose their atoms."""
    about = everything()
    about = replace(about, structure=replace(about.structure, name=about.entry_id))
    parameters = {
        "seed": 7,
        "config.epsilon": 1e-5,
        "config.templates": True,
        "config.tolerance": "null",
    }
    again = read_modelcif(WRITERS[kind](about), "x")
    for name, hits in about.templates.items():
        for hit, found in zip(hits, again.templates[name], strict=True):
            assert (found.name, found.release_date) == (hit.name, hit.release_date)
            np.testing.assert_array_equal(found.pairs, hit.pairs[np.argsort(hit.pairs[:, 0])])
            assert found.known_structure().sequence == hit.known_structure().sequence
    expected = replace(
        about,
        prediction=Step(about.prediction.versions, parameters),
        templates=again.templates,
    )
    assert replace(again, of_chains=()) == replace(expected, of_chains=())
    for metric, same in zip(about.of_chains, again.of_chains, strict=True):
        assert same.measure == metric.measure
        np.testing.assert_array_equal(same.values, metric.values)


def test_a_record_with_all_parts_is_read_exactly() -> None:
    assert_read_exactly(everything())


@settings(max_examples=25, deadline=None)
@given(prediction=predictions(), data=st.data())
def test_any_structure_is_read_exactly(
    prediction: tuple[Structure, list[tuple[str, str]]], data: st.DataObject
) -> None:
    structure, chains = prediction
    number = len(structure)
    letters = data.draw(st.text("HBEGITSP-", min_size=number, max_size=number))
    offset = data.draw(st.integers(-20, 20))
    codes = data.draw(st.lists(st.sampled_from(["", "A", "B"]), min_size=number, max_size=number))
    structure = replace(
        structure,
        residue_number=structure.residue_number + offset,
        insertion_code=np.array(codes),
    )
    assert_read_exactly(
        recorded(
            structure,
            chains,
            secondary_structure=letters,
            version=data.draw(st.none() | st.integers(1, 99)),
            scores={"ptm": data.draw(st.floats(0, 1)), "iptm": float("nan")},
        )
        if structure.atom_mask.any()
        else record()
    )


@settings(max_examples=25, deadline=None)
@given(name=NASTY, other=NASTY, value=st.floats() | st.integers() | st.booleans() | NASTY)
def test_any_text_is_read_exactly(name: str, other: str, value: object) -> None:
    known = model().select(np.array([0, 1]), "x")
    assert_read_exactly(
        record(
            entry_id=f"x{name}",
            title=name,
            authors=(f"By {name}", other),
            chains=(ModelChain(("A",), SEQUENCE, name, replace(ABL1, code=other, organism=name)),),
            notice=other,
            licence=name,
            created=other,
            version=4,
            prediction=Step({"foldry": name}, {"value": value, "text": other, "nested": {"a": []}}),
            relaxation=Step({}, {"x": name}),
            model_name=name,
            inputs=other,
            templates={"A": [Hit(name, np.array([[0, 0], [1, 1]]), known, release_date=other)]},
        )
    )


def test_arginine_and_unusual_chain_names_are_read_exactly() -> None:
    """Other readers of Foldry rename NH1 and NH2 of arginine by their distance from CD."""
    about = record(("A b", "it's"))
    arginine = RESTYPE_ORDER["R"]
    structure = about.structure
    mask = structure.atom_mask.copy()
    mask[0, [ATOM37.index(name) for name in ("CD", "NE", "CZ", "NH1", "NH2")]] = True
    aatype = structure.aatype.copy()
    aatype[[0, 5]] = arginine
    places = np.random.default_rng(1).normal(0, 9, structure.atom_positions.shape).round(3)
    structure = replace(
        structure,
        aatype=aatype,
        atom_mask=mask,
        atom_positions=places * mask[..., None],
        b_factor=about.plddt[:, None] * mask,
    )
    chains = (ModelChain(("A b", "it's"), f"R{SEQUENCE[1:]}"),)
    about = replace(about, structure=structure, chains=chains)
    assert_read_exactly(about)
    again = read_modelcif(to_binarycif(about), "x.bcif")
    np.testing.assert_array_equal(again.structure.atom_positions, structure.atom_positions)
    assert again.chains == chains


@pytest.mark.parametrize("ids", [("\u5b57", "\u6587"), ("\u0301", "A"), ("\u03b1", "a")])
def test_chain_names_without_letters_in_ascii_stay_apart(ids: tuple[str, str]) -> None:
    about = record(ids)
    assert_read_exactly(about)
    [chain] = read_modelcif(to_binarycif(about), "x.bcif").chains
    assert chain.ids == ("A", "B")


def test_the_fast_reader_agrees_with_the_reader_of_all_dialects() -> None:
    about = everything()
    text = to_modelcif(about).encode()
    own = read_modelcif(text, "x.cif").structure
    # One residue in another group makes the file unusual.
    other = read_modelcif(text.replace(b"ATOM 1 ", b"HETATM 1 ", 1), "x.cif")
    for name in ("aatype", "residue_number", "insertion_code", "chain_id"):
        np.testing.assert_array_equal(getattr(other.structure, name), getattr(own, name))
    for name in ("atom_mask", "atom_positions", "b_factor"):
        np.testing.assert_array_equal(getattr(other.structure, name), getattr(own, name))
    assert other.chains == about.chains
    np.testing.assert_array_equal(other.plddt, about.plddt)


# Files of other programs

AFDB = """data_AF-P00441-F1
#
_entry.id AF-P00441-F1
#
loop_
_audit_author.name
_audit_author.pdbx_ordinal
"Jumper, John"  1
"Evans, Richard" 2
#
_entity.details                  ?
_entity.formula_weight           ?
_entity.id                       1
_entity.pdbx_description         "Superoxide dismutase [Cu-Zn]"
_entity.pdbx_number_of_molecules 1
_entity.src_method               man
_entity.type                     polymer
#
_entity_poly.entity_id                    1
_entity_poly.pdbx_seq_one_letter_code_can
;MAT
;
_entity_poly.pdbx_strand_id               A
_entity_poly.type                         polypeptide(L)
#
loop_
_entity_poly_seq.entity_id
_entity_poly_seq.hetero
_entity_poly_seq.mon_id
_entity_poly_seq.num
1 n MET 1
1 n ALA 2
1 n THR 3
#
_ma_model_list.data_id          1
_ma_model_list.model_group_id   1
_ma_model_list.model_group_name "AlphaFold Monomer v2.0 model"
_ma_model_list.model_id         1
_ma_model_list.model_name       "Top ranked model"
_ma_model_list.model_type       "Ab initio model"
_ma_model_list.ordinal_id       1
#
loop_
_ma_protocol_step.method_type
_ma_protocol_step.ordinal_id
_ma_protocol_step.protocol_id
_ma_protocol_step.step_id
"coevolution MSA" 1 1 1
"template search" 2 1 2
modeling          3 1 3
#
loop_
_ma_qa_metric.id
_ma_qa_metric.mode
_ma_qa_metric.name
_ma_qa_metric.software_group_id
_ma_qa_metric.type
1 global pLDDT 1 pLDDT
2 local  pLDDT 1 pLDDT
#
_ma_qa_metric_global.metric_id    1
_ma_qa_metric_global.metric_value 84.34
_ma_qa_metric_global.model_id     1
_ma_qa_metric_global.ordinal_id   1
#
loop_
_ma_qa_metric_local.label_asym_id
_ma_qa_metric_local.label_comp_id
_ma_qa_metric_local.label_seq_id
_ma_qa_metric_local.metric_id
_ma_qa_metric_local.metric_value
_ma_qa_metric_local.model_id
_ma_qa_metric_local.ordinal_id
A MET 1 2 70.94 1 1
A ALA 2 2 83.56 1 2
A THR 3 2 98.52 1 3
#
_ma_target_ref_db_details.db_accession                 P00441
_ma_target_ref_db_details.db_code                      SODC_HUMAN
_ma_target_ref_db_details.db_name                      UNP
_ma_target_ref_db_details.gene_name                    SOD1
_ma_target_ref_db_details.ncbi_taxonomy_id             9606
_ma_target_ref_db_details.organism_scientific          "Homo sapiens"
_ma_target_ref_db_details.seq_db_align_begin           1
_ma_target_ref_db_details.seq_db_align_end             3
_ma_target_ref_db_details.seq_db_isoform               ?
_ma_target_ref_db_details.seq_db_sequence_checksum     25CA38DA8D564483
_ma_target_ref_db_details.seq_db_sequence_version_date 2007-01-23
_ma_target_ref_db_details.target_entity_id             1
#
loop_
_pdbx_audit_revision_history.data_content_type
_pdbx_audit_revision_history.major_revision
_pdbx_audit_revision_history.minor_revision
_pdbx_audit_revision_history.ordinal
_pdbx_audit_revision_history.revision_date
"Structure model" 1 0 1 2021-07-01
"Structure model" 2 0 2 2021-12-09
"Structure model" 6 0 3 2025-08-01
#
loop_
_pdbx_data_usage.details
_pdbx_data_usage.id
_pdbx_data_usage.name
_pdbx_data_usage.type
_pdbx_data_usage.url
"Data in this file is available under a CC-BY-4.0 license." 1 CC-BY-4.0 license    https://creativecommons.org/licenses/by/4.0/
;ALPHAFOLD DATA. THE INFORMATION
PROVIDED IS THEORETICAL MODELLING ONLY.
;
2 ?         disclaimer ?
#
loop_
_pdbx_poly_seq_scheme.asym_id
_pdbx_poly_seq_scheme.auth_seq_num
_pdbx_poly_seq_scheme.entity_id
_pdbx_poly_seq_scheme.hetero
_pdbx_poly_seq_scheme.mon_id
_pdbx_poly_seq_scheme.pdb_ins_code
_pdbx_poly_seq_scheme.pdb_mon_id
_pdbx_poly_seq_scheme.pdb_seq_num
_pdbx_poly_seq_scheme.pdb_strand_id
_pdbx_poly_seq_scheme.seq_id
A 1 1 n MET . MET 1 A 1
A 2 1 n ALA . ALA 2 A 2
A 3 1 n THR . THR 3 A 3
#
loop_
_software.classification
_software.date
_software.description
_software.name
_software.pdbx_ordinal
_software.type
_software.version
other ? "Structure prediction" AlphaFold 1 package v2.0
other ? "Secondary structure"  dssp      2 library 4
#
_struct.entry_id                                 AF-P00441-F1
_struct.title                                    "Alphafold Monomer v2.0 prediction for P00441"
#
_struct_asym.entity_id 1
_struct_asym.id        A
#
loop_
_struct_conf.beg_label_asym_id
_struct_conf.beg_label_seq_id
_struct_conf.conf_type_id
_struct_conf.end_label_asym_id
_struct_conf.end_label_seq_id
_struct_conf.id
A 1 TURN_TY1_P A 2 TURN_TY1_P1
A 3 STRN       A 3 STRN1
#
_struct_ref.db_code           SODC_HUMAN
_struct_ref.db_name           UNP
_struct_ref.entity_id         1
_struct_ref.id                1
_struct_ref.pdbx_db_accession P00441
_struct_ref.pdbx_db_isoform   ?
#
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
_atom_site.pdbx_formal_charge
_atom_site.auth_seq_id
_atom_site.auth_comp_id
_atom_site.auth_asym_id
_atom_site.auth_atom_id
_atom_site.pdbx_PDB_model_num
_atom_site.pdbx_sifts_xref_db_acc
ATOM 1 N N  . MET A 1 1 ? 19.826 7.489 -7.485 1.00 70.94 ? 1 MET A N  1 P00441
ATOM 2 C CA . MET A 1 1 ? 18.826 7.489 -7.485 1.00 70.94 ? 1 MET A CA 1 P00441
ATOM 3 N N  . ALA A 1 2 ? 15.826 7.489 -7.485 1.00 83.56 ? 2 ALA A N  1 P00441
ATOM 4 C CA . ALA A 1 2 ? 14.826 7.489 -7.485 1.00 83.56 ? 2 ALA A CA 1 P00441
ATOM 5 C CA . THR A 1 3 ? 11.826 7.489 -7.485 1.00 98.52 ? 3 THR A CA 1 P00441
#
"""


def test_a_file_of_the_alphafold_database() -> None:
    """In the layout of its version 6, shortened."""
    found = read_modelcif(AFDB.encode(), "AF-P00441-F1-model_v6.cif")
    assert found.entry_id == "AF-P00441-F1"
    assert found.title.endswith("prediction for P00441")
    assert found.authors == ("Jumper, John", "Evans, Richard")
    assert found.version == 6
    assert found.created == "2025-08-01T00:00:00Z"
    assert found.model_name == "AlphaFold Monomer v2.0 model"
    assert found.prediction == Step({"AlphaFold": "v2.0", "dssp": "4"}, {})
    assert found.licence == "CC BY 4.0"
    assert found.notice == "ALPHAFOLD DATA. THE INFORMATION PROVIDED IS THEORETICAL MODELLING ONLY."
    assert found.secondary_structure == "TTE"
    assert found.chains == (
        ModelChain(
            ("A",),
            "MAT",
            "Superoxide dismutase [Cu-Zn]",
            Reference(
                "P00441",
                "SODC_HUMAN",
                start=1,
                end=3,
                gene="SOD1",
                organism="Homo sapiens",
                tax_id=9606,
                checksum="25CA38DA8D564483",
                version_date="2007-01-23",
            ),
        ),
    )
    np.testing.assert_array_equal(found.plddt, [70.94, 83.56, 98.52])
    assert found.structure.atom_positions[0, 0].tolist() == [19.826, 7.489, -7.485]
    assert_read_exactly(found)


def test_a_file_of_the_alphafold_database_without_modelcif_details() -> None:
    """Its first version had less: the reference is then that of `_struct_ref`."""
    text = re.sub(r"^_ma_(target_ref|model_list).*\n", "", AFDB, flags=re.MULTILINE)
    found = read_modelcif(text.encode(), "AF-P00441-F1-model_v1.cif")
    [chain] = found.chains
    assert chain.reference == Reference("P00441", "SODC_HUMAN")
    assert found.model_name == ""


ATOMS = """loop_
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
"""
ALPHAFOLD3 = f"""data_HELLO
_entry.id HELLO
loop_
_entity.id
_entity.pdbx_description
_entity.type
1 . polymer
2 . non-polymer
loop_
_entity_poly.entity_id
_entity_poly.pdbx_strand_id
_entity_poly.type
1 A,B polypeptide(L)
loop_
_entity_poly_seq.entity_id
_entity_poly_seq.hetero
_entity_poly_seq.mon_id
_entity_poly_seq.num
1 n GLY 1
1 n ALA 2
loop_
_ma_qa_metric.id
_ma_qa_metric.mode
_ma_qa_metric.name
_ma_qa_metric.software_group_id
_ma_qa_metric.type
1 global pLDDT 1 pLDDT
2 local pLDDT 1 pLDDT
loop_
_ma_qa_metric_local.label_asym_id
_ma_qa_metric_local.label_comp_id
_ma_qa_metric_local.label_seq_id
_ma_qa_metric_local.metric_id
_ma_qa_metric_local.metric_value
_ma_qa_metric_local.model_id
_ma_qa_metric_local.ordinal_id
A GLY 1 2 81.00 1 1
A ALA 2 2 72.00 1 2
B GLY 1 2 63.00 1 3
B ALA 2 2 54.00 1 4
_software.classification other
_software.date ?
_software.description "Structure prediction"
_software.name AlphaFold
_software.pdbx_ordinal 1
_software.type package
_software.version "AlphaFold-beta-20231127 (3.0.0 @ 2025-04-14)"
_pdbx_data_usage.details "Non-commercial use only."
_pdbx_data_usage.id 1
_pdbx_data_usage.name ?
_pdbx_data_usage.type license
_pdbx_data_usage.url ?
loop_
_struct_asym.entity_id
_struct_asym.id
1 A
1 B
2 C
{ATOMS}ATOM 1 N N . GLY A 1 1 ? 1.0 0.0 0.0 1.00 80.00 1 A 1
ATOM 2 C CA . GLY A 1 1 ? 2.0 0.0 0.0 1.00 81.00 1 A 1
ATOM 3 C C . GLY A 1 1 ? 3.0 0.0 0.0 1.00 82.00 1 A 1
ATOM 4 N N . ALA A 1 2 ? 4.0 0.0 0.0 1.00 71.00 2 A 1
ATOM 5 C CA . ALA A 1 2 ? 5.0 0.0 0.0 1.00 72.00 2 A 1
ATOM 6 C C . ALA A 1 2 ? 6.0 0.0 0.0 1.00 73.00 2 A 1
ATOM 7 N N . GLY B 1 1 ? 1.0 9.0 0.0 1.00 62.00 1 B 1
ATOM 8 C CA . GLY B 1 1 ? 2.0 9.0 0.0 1.00 63.00 1 B 1
ATOM 9 C C . GLY B 1 1 ? 3.0 9.0 0.0 1.00 64.00 1 B 1
ATOM 10 N N . ALA B 1 2 ? 4.0 9.0 0.0 1.00 53.00 2 B 1
ATOM 11 C CA . ALA B 1 2 ? 5.0 9.0 0.0 1.00 54.00 2 B 1
ATOM 12 C C . ALA B 1 2 ? 6.0 9.0 0.0 1.00 55.00 2 B 1
HETATM 13 ZN ZN . ZN C 2 . ? 9.0 9.0 9.0 1.00 90.00 1 C 1
"""


def test_a_file_of_alphafold_3() -> None:
    """It has pLDDT of atoms, molecules, and terms of its own."""
    found = read_modelcif(ALPHAFOLD3.encode(), "model.cif")
    assert found.chains == (ModelChain(("A", "B"), "GA"),)
    assert found.prediction.versions == {
        "AlphaFold": "AlphaFold-beta-20231127 (3.0.0 @ 2025-04-14)"
    }
    assert found.licence == "Non-commercial use only."
    np.testing.assert_array_equal(found.plddt, [81, 72, 63, 54])
    np.testing.assert_array_equal(found.structure.b_factor[0, :3], [80, 81, 82])
    assert_read_exactly(found)


def test_a_file_with_coordinates_alone() -> None:
    """As AlphaFold 2 and ColabFold write them: the B factors are pLDDT."""
    rows = ALPHAFOLD3[ALPHAFOLD3.index(ATOMS) :].rpartition("HETATM")[0]
    found = read_modelcif(f"data_x\n{rows}".encode(), "x.cif")
    assert found.chains == (ModelChain(("A", "B"), "GA"),)
    np.testing.assert_array_equal(found.plddt, [81, 72, 63, 54])
    assert found.prediction == Step({}, {})
    assert_read_exactly(found)


def test_a_pdb_file_and_shares_in_its_b_factors() -> None:
    structure = model(("A", "B"))
    found = read_modelcif(to_pdb(structure).encode(), "x.pdb")
    assert [(chain.ids, chain.sequence) for chain in found.chains] == [(("A", "B"), SEQUENCE)]
    np.testing.assert_allclose(found.plddt, structure.b_factor[:, 1])
    shares = replace(structure, b_factor=(structure.b_factor / 100).round(2))
    found = read_modelcif(to_pdb(shares).encode(), "x.pdb")
    np.testing.assert_allclose(found.plddt, structure.b_factor[:, 1].round(), atol=1e-9)
    assert_read_exactly(found)


def by_python_modelcif() -> str:
    """A file as Boltz and Chai write it: by python-modelcif, with shares of pLDDT as B factors."""
    sequence = modelcif.reference.UniProt(
        "ABL1_MOUSE", "P00520", sequence="GA", organism_scientific="Mus musculus"
    )
    entity = modelcif.Entity("GA", description="A protein", references=[sequence])
    asyms = [modelcif.AsymUnit(entity, id=name) for name in "AB"]

    class Model(modelcif.model.AbInitioModel):  # type: ignore[misc]
        def get_atoms(self) -> Any:
            for asym in asyms:
                for number in (1, 2):
                    yield modelcif.model.Atom(
                        asym, number, "CA", "C", 3.8 * number, 0.0, ord(asym.id), biso=0.5
                    )

    made = Model(modelcif.Assembly(asyms), name="model 0")
    about = {"__doc__": "A metric.", "software": None}
    local = type("Local", (modelcif.qa_metric.Local, modelcif.qa_metric.PLDDT01), about)
    whole = type("pTM", (modelcif.qa_metric.Global, modelcif.qa_metric.PTM), about)
    made.qa_metrics += [local(asym.residue(k), 0.4 + 0.1 * k) for asym in asyms for k in (1, 2)]
    made.qa_metrics.append(whole(0.75))
    software = modelcif.Software("Boltz", "model building", "A network", "here", "package", "2.1")
    protocol = modelcif.protocol.Protocol()
    step = modelcif.protocol.ModelingStep(
        modelcif.data.DataGroup([entity]), made, software=software
    )
    protocol.steps.append(step)
    system = modelcif.System(title="A dimer", id="dimer")
    system.protocols.append(protocol)
    system.model_groups.append(modelcif.model.ModelGroup([made]))
    file = io.StringIO()
    modelcif.dumper.write(file, [system])
    return file.getvalue()


def test_a_file_by_python_modelcif() -> None:
    found = read_modelcif(by_python_modelcif().encode(), "x.cif")
    assert (found.entry_id, found.title, found.model_name) == ("dimer", "A dimer", "model 0")
    reference = Reference("P00520", "ABL1_MOUSE", end=2, organism="Mus musculus")
    [chain] = found.chains
    assert (chain.ids, chain.sequence, chain.description) == (("A", "B"), "GA", "A protein")
    assert chain.reference is not None
    assert replace(chain.reference, checksum="", version_date="") == reference
    assert found.prediction == Step({"Boltz": "2.1"}, {})
    assert found.scores == {"ptm": 0.75}
    np.testing.assert_allclose(found.plddt, [50, 60, 50, 60])
    np.testing.assert_allclose(found.structure.b_factor[:, 1], found.plddt)
    assert_read_exactly(found)


def test_files_that_are_no_predictions_are_refused() -> None:
    experiment = (ROOT / "examples" / "kunitz" / "1adz.cif").read_bytes()
    with pytest.raises(InputError, match="no pLDDT"):
        read_modelcif(experiment, "1adz.cif")
    rows = ALPHAFOLD3[ALPHAFOLD3.index(ATOMS) :].replace("1.00 81.00", "1.00 181.00")
    with pytest.raises(InputError, match=r"x\.cif has B factors below 0 or above 100"):
        read_modelcif(f"data_x\n{rows}".encode(), "x.cif")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("19.826", "nan"),
        ("19.826", "inf"),
        ("19.826", "x"),
        ("MET A 1 1 ?", "MET A 1 9 ?"),
        ("MET A 1 1 ?", "TRP A 1 1 ?"),
        ("A 1 1 n MET . MET 1 A 1", "A 1 1 n MET . MET 99999999999999999999 A 1"),
        ("1 n ALA 2", "1 n ALA 3"),
        ("_struct_asym.id        A", "_struct_asym.id        B"),
        ("70.94 1 1", "nan 1 1"),
        ("70.94 1 1", "1e400 1 1"),
        ("TURN_TY1_P A 2", "TURN_TY1_P A 999999999"),
        ("_align_begin           1", "_align_begin           99999999999999999999"),
    ],
)
def test_a_damaged_file_is_read_without_the_damage_or_refused(old: str, new: str) -> None:
    text = AFDB.replace(old, new, 1)
    assert text != AFDB
    try:
        found = read_modelcif(text.encode(), "x.cif")
    except InputError as error:
        assert str(error).startswith("x.cif")
        return
    assert found.chains[0].sequence[-1:] == "T"
    assert np.isfinite(found.plddt).all()
    assert_read_exactly(found)


def test_measures_of_very_many_chains_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file could otherwise fill the memory."""
    about = everything()
    data = to_binarycif(about)
    size = sum(metric.values.size for metric in about.of_chains)
    monkeypatch.setattr(modelcif_read, "_MAX_VALUES", size)
    assert len(read_modelcif(data, "x.bcif").of_chains) == len(about.of_chains)
    monkeypatch.setattr(modelcif_read, "_MAX_VALUES", size - 1)
    assert read_modelcif(data, "x.bcif").of_chains == ()


def test_the_sequences_are_those_of_the_deposition() -> None:
    about = everything()
    found = parse_deposition(to_modelcif(about).encode(), "x.cif")
    assert found.predicted
    assert found.chain_to_seqres == {
        name: chain.sequence for chain in about.chains for name in chain.ids
    }


def test_templates_after_a_limit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text can name a long sequence in many rows."""
    about = everything()
    data = to_binarycif(about)
    letters = {"A": 5 + 4, "C": 5 + 5}  # of the template and of its alignment
    monkeypatch.setattr(modelcif_read_history, "MAX_LETTERS", sum(letters.values()))
    assert read_modelcif(data, "x.bcif").templates.keys() == {"A", "C"}
    monkeypatch.setattr(modelcif_read_history, "MAX_LETTERS", sum(letters.values()) - 1)
    assert read_modelcif(data, "x.bcif").templates.keys() == {"A"}


def test_elements_of_secondary_structure_that_overlap_without_end_are_left_out() -> None:
    row = "A 1 TURN_TY1_P A 2 TURN_TY1_P1\n"
    many = AFDB.replace(row, 20 * "A 1 HELX_RH_AL_P A 3 HELX_RH_AL_P1\n" + row)
    assert read_modelcif(many.encode(), "x.cif").secondary_structure == "HHH"


def test_a_file_with_too_many_residues_is_not_read_fast() -> None:
    """A short sequence in many chains can fill the memory."""
    about = everything()
    block = gemmi.cif.read_string(to_modelcif(about)).sole_block()
    assert read_atoms(block, "x", len(about.structure)) is not None
    assert read_atoms(block, "x", len(about.structure) - 1) is None
