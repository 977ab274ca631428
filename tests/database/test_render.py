"""Files rendered from a database, read by gemmi, Biopython, biotite and json."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from Bio import SeqIO
from biotite.structure.io import pdbx  # type: ignore[import-untyped]

from foldry.database.database import Database
from foldry.database.entry import Entry, Facts, StoredModel
from foldry.database.render import KINDS, file_name, render
from foldry.errors import InputError, OutsideError
from foldry.formats.a3m import split_entries
from foldry.formats.coordinates import read_structure
from foldry.formats.model_record import Reference
from foldry.formats.modelcif_read import read_modelcif
from foldry.score.secondary_structure import secondary_structure
from tests.database.conftest import Make
from tests.database.deposits import SEQUENCE, deposit, stored_model
from tests.formats.atoms import READERS, assert_readers_agree, by_biotite, by_gemmi, cif_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
UNKNOWN = "MKTXXAYIXKQRX"
CHAINS = {
    "monomer": [(SEQUENCE, 1)],
    "homodimer": [(SEQUENCE, 2)],
    "heterotrimer": [(SEQUENCE, 2), ("GSHMWLPDE", 1)],
    "unknown residues": [(UNKNOWN, 1)],
}


@dataclass(frozen=True)
class Kept:
    """A published model and how it is found."""

    database: Database
    entry: Entry
    model: StoredModel

    def file(self, kind: str, **options: Any) -> bytes:
        data = render(self.database, self.entry, self.entry.latest, kind, **options)
        assert data is not None
        return data

    def path(self, kind: str, folder: Path) -> Path:
        path = folder / f"model.{kind}"
        path.write_bytes(self.file(kind))
        return path


Publish = Callable[..., Kept]


@pytest.fixture
def publish(sqlite_database: Database) -> Publish:
    """Publishes a deposit, whose arguments are those of `deposits.deposit`."""

    def published(*arguments: Any, **fields: Any) -> Kept:
        made = deposit(*arguments, **fields)
        [place] = sqlite_database.publish([made])
        entry = sqlite_database.entry(place.entry_id)
        return Kept(sqlite_database, entry, sqlite_database.model(entry))

    return published


@pytest.fixture(params=CHAINS)
def kept(request: pytest.FixtureRequest, publish: Publish) -> Kept:
    """A published model of every kind."""
    return publish(CHAINS[request.param], seed=5)


# Names


def test_names_are_those_of_alphafold_db(publish: Publish) -> None:
    kept = publish(accession="P00520-4")
    version = replace(kept.entry.latest, number=3)
    assert [file_name(kept.entry, version, kind) for kind in KINDS] == [
        "AF-P00520-4-F1-model_v3.cif",
        "AF-P00520-4-F1-model_v3.bcif",
        "AF-P00520-4-F1-model_v3.pdb",
        "AF-P00520-4-F1-confidence_v3.json",
        "AF-P00520-4-F1-predicted_aligned_error_v3.json",
        "AF-P00520-4-F1-predicted_aligned_error_v3.png",
        "AF-P00520-4-F1-msa_v3.a3m",
    ]


def test_unknown_kinds_are_refused(publish: Publish) -> None:
    kept = publish()
    with pytest.raises(InputError, match="'exe' is not a kind of file: choose cif, bcif"):
        render(kept.database, kept.entry, kept.entry.latest, "exe")
    with pytest.raises(InputError, match="is not a kind of file"):
        file_name(kept.entry, kept.entry.latest, "")


# Structures


def test_all_readers_find_the_same_atoms(kept: Kept, tmp_path: Path) -> None:
    for kind in READERS:
        assert_readers_agree(kept.path(kind, tmp_path), kept.model.record.structure)


def test_all_readers_find_the_same_sequences(kept: Kept, tmp_path: Path) -> None:
    sequences = {name: chain.sequence for chain in kept.model.record.chains for name in chain.ids}
    paths = {kind: kept.path(kind, tmp_path) for kind in READERS}
    parsed = gemmi.read_structure(str(paths["cif"]))
    assert {
        chain.name: gemmi.one_letter_code(parsed.get_entity_of(chain.get_polymer()).full_sequence)
        for chain in parsed[0]
    } == sequences
    for kind in ("cif", "bcif"):
        found = pdbx.get_sequence(cif_file(paths[kind]))
        assert {name: str(each) for name, each in found.items()} == sequences
    read: Any = SeqIO.parse
    records = read(io.StringIO(kept.file("pdb").decode()), "pdb-seqres")
    assert {each.annotations["chain"]: str(each.seq) for each in records} == sequences


def test_categories_that_mol_star_reads(kept: Kept, tmp_path: Path) -> None:
    for kind in ("cif", "bcif"):
        block = cif_file(kept.path(kind, tmp_path)).block
        local = block["ma_qa_metric_local"]
        assert local["metric_value"].as_array(float).tolist() == kept.model.record.plddt.tolist()
        assert block["pdbx_audit_revision_history"]["major_revision"].as_array(int).tolist() == [1]
        assert block["entry"]["id"].as_item() == kept.entry.entry_id
        assert "CC BY 4.0" in block["pdbx_data_usage"]["name"].as_array(str)


def test_plddt_is_the_same_number_in_all_files(publish: Publish, tmp_path: Path) -> None:
    model = stored_model([(SEQUENCE, 1)])
    plddt = np.array([0.0, 100.0, 0.005, 0.015, 99.995, 49.995, 69.999, 33.335, 66.665, *range(13)])
    structure = model.record.structure
    b_factor = np.where(structure.atom_mask, plddt[:, None], 0.0)
    record = replace(model.record, plddt=plddt, structure=replace(structure, b_factor=b_factor))
    kept = publish(model=replace(model, record=record))
    scores = json.loads(kept.file("confidence"))["confidenceScore"]
    for kind in READERS:
        atoms = by_biotite(kept.path(kind, tmp_path))
        numbers = [number for _, number, *_ in atoms.labels]
        of_residues = dict(zip(numbers, atoms.b_factors.tolist(), strict=True))
        assert [round(each, 2) for each in of_residues.values()] == scores, kind
    assert np.abs(np.subtract(scores, plddt)).max() <= 0.00501


def test_secondary_structure_is_in_the_files(publish: Publish) -> None:
    kept = publish(model=example_model())
    block = gemmi.cif.read_string(kept.file("cif").decode()).sole_block()
    kinds = set(block.find_values("_struct_conf.conf_type_id"))
    assert {"STRN", "HELX_RH_AL_P", "TURN_TY1_P", "BEND"} <= kinds


def example_model() -> StoredModel:
    """A real protein, as if it were a prediction."""
    structure = read_structure(EXAMPLES / "kunitz" / "1adz.cif")
    size = len(structure)
    model = stored_model([(structure.sequence, 1)])
    structure = replace(
        structure,
        residue_number=np.arange(1, size + 1),
        atom_positions=structure.atom_positions.astype(float),
        b_factor=model.record.plddt[:, None] * structure.atom_mask,
    )
    return replace(model, record=replace(model.record, structure=structure))


@pytest.mark.tools
def test_dssp_reads_the_pdb_file(publish: Publish, tmp_path: Path) -> None:
    program = shutil.which("mkdssp")
    if program is None:
        pytest.skip("mkdssp is not installed: Debian's package is dssp")
    kept = publish(model=example_model())
    options = ["--quiet", "--output-format", "dssp"]
    places = [str(kept.path("pdb", tmp_path)), str(tmp_path / "model.dssp")]
    subprocess.run([program, *options, *places], check=True, capture_output=True)
    _, table = (tmp_path / "model.dssp").read_text().split("  #  RESIDUE", 1)
    letters = "".join(line[16].replace(" ", "-") for line in table.splitlines()[1:])
    assert letters == secondary_structure(kept.model.record.structure)


def test_a_structure_beyond_the_pdb_format(publish: Publish, tmp_path: Path) -> None:
    model = stored_model()
    [chain] = model.record.chains
    record = replace(
        model.record,
        chains=(replace(chain, ids=("AB",)),),
        structure=replace(model.record.structure, chain_id=np.full(len(SEQUENCE), "AB")),
    )
    kept = publish(model=replace(model, record=record))
    assert render(kept.database, kept.entry, kept.entry.latest, "pdb") is None
    assert by_gemmi(kept.path("cif", tmp_path)).labels[0][0] == "AB"


def test_the_pdb_file_has_date_title_and_notice(publish: Publish) -> None:
    words = "Prediction of a kinase with a long name, by a network with a name that is longer"
    model = stored_model(title=words, created="2026-01-30T12:00:00Z", notice="Not for clinics.")
    kept = publish(model=model)
    structure = gemmi.read_pdb_string(kept.file("pdb").decode())
    assert " ".join(structure.info["_struct.title"].split()) == words
    assert structure.info["_pdbx_database_status.recvd_initial_deposition_date"] == "2026-01-30"
    name = file_name(kept.entry, kept.entry.latest, "pdb")
    assert f"REMARK 999 {name}. Not for clinics." in structure.raw_remarks[0]
    undated = publish(model=stored_model(created="yesterday"), content_key="undated")
    assert undated.file("pdb").startswith(b"HEADER    PREDICTED MODEL" + b" " * 55 + b"\n")


# Facts


FACTS = Facts(
    description="Tyrosine-protein kinase ABL1",
    uniprot_id="ABL1_MOUSE",
    gene="Abl1",
    organism="Mus musculus",
    tax_id=10090,
    sequence_version_date="2009-05-05",
)


def references(kept: Kept, kind: str = "cif") -> list[Reference | None]:
    record = read_modelcif(kept.file(kind), "model")
    assert record.version == kept.entry.latest.number
    return [chain.reference for chain in record.chains]


def test_facts_are_in_the_file(publish: Publish) -> None:
    kept = publish(accession="P00520-4", facts=FACTS)
    reference = Reference(
        accession="P00520",
        isoform="P00520-4",
        code="ABL1_MOUSE",
        start=1,
        end=len(SEQUENCE),
        gene="Abl1",
        organism="Mus musculus",
        tax_id=10090,
        version_date="2009-05-05",
    )
    assert references(kept) == references(kept, "bcif") == [reference]
    record = read_modelcif(kept.file("cif"), "model")
    assert record.chains[0].description == FACTS.description
    assert record.authors == ("Example Lab",)


def test_facts_replace_what_the_record_says(publish: Publish) -> None:
    model = stored_model()
    [chain] = model.record.chains
    before = Reference("P00520", code="OLD_NAME", start=201, end=222, gene="old", checksum="0" * 16)
    record = replace(model.record, chains=(replace(chain, reference=before),))
    kept = publish(model=replace(model, record=record), accession="P00520", facts=Facts(gene="new"))
    assert references(kept) == [replace(before, gene="new")]


def test_the_place_of_a_fragment_is_unknown(publish: Publish) -> None:
    kept = publish(accession="Q14676", fragment=2)
    assert references(kept) == [Reference("Q14676", end=0)]


def test_without_accession_there_is_no_reference(publish: Publish) -> None:
    kept = publish(facts=FACTS)
    assert references(kept) == [None]
    assert read_modelcif(kept.file("cif"), "").chains[0].description == FACTS.description


def test_chains_of_a_complex_keep_their_own_references(publish: Publish) -> None:
    model = stored_model(CHAINS["heterotrimer"])
    one, other = model.record.chains
    known = Reference("P00520", end=len(SEQUENCE))
    record = replace(model.record, chains=(replace(one, reference=known), other))
    kept = publish(model=replace(model, record=record), facts=FACTS)
    assert references(kept) == [known, None]


# Confidence and errors: the rules of AlphaFold DB's validators


def test_confidence_obeys_the_rules(kept: Kept) -> None:
    found = json.loads(kept.file("confidence"))
    size = len(kept.model.record.plddt)
    assert list(found) == ["residueNumber", "confidenceScore", "confidenceCategory"]
    assert found["residueNumber"] == list(range(1, size + 1))
    assert len(found["confidenceScore"]) == len(found["confidenceCategory"]) == size
    starts = {"D": 0, "L": 50, "M": 70, "H": 90}
    for score, letter in zip(found["confidenceScore"], found["confidenceCategory"], strict=True):
        assert score == round(score, 2)
        assert letter == [name for name, start in starts.items() if start <= score][-1]


def test_errors_obey_the_rules(kept: Kept) -> None:
    found = json.loads(kept.file("pae"))
    assert isinstance(found, list) and len(found) == 1
    matrix, largest = found[0]["predicted_aligned_error"], found[0]["max_predicted_aligned_error"]
    assert np.shape(matrix) == (len(kept.model.record.plddt),) * 2
    numbers = [number for row in matrix for number in row]
    assert all(number == round(number, 2) for number in [*numbers, largest])
    assert {type(number) for number in numbers} == {float if kept.entry.is_complex else int}
    assert kept.model.pae is not None
    np.testing.assert_array_equal(matrix, kept.model.pae)
    assert 0 <= np.min(matrix) <= np.max(matrix) <= largest == 31.75


def test_chains_of_the_errors_cover_all_rows(publish: Publish) -> None:
    model = stored_model(CHAINS["heterotrimer"])
    one, other = model.record.chains
    record = replace(model.record, chains=(replace(one, description="Kinase"), other))
    kept = publish(model=replace(model, record=record))
    size = len(SEQUENCE)
    assert json.loads(kept.file("pae"))[0]["chains"] == [
        {"name": "Kinase", "label_asym_id": "A", "sequenceStart": 1, "sequenceEnd": size},
        {
            "name": "Kinase",
            "label_asym_id": "B",
            "sequenceStart": size + 1,
            "sequenceEnd": 2 * size,
        },
        {
            "name": "C",
            "label_asym_id": "C",
            "sequenceStart": 2 * size + 1,
            "sequenceEnd": 2 * size + len(other.sequence),
        },
    ]


def test_exact_errors_have_one_decimal(make_sqlite: Make) -> None:
    model = stored_model()
    exact = np.random.default_rng(0).uniform(0, 31, (len(SEQUENCE),) * 2)
    database = make_sqlite(exact_pae=True)
    [place] = database.publish([deposit(model=replace(model, pae=exact))])
    entry = database.entry(place.entry_id)
    data = render(database, entry, entry.latest, "pae")
    assert data is not None
    assert json.loads(data)[0]["predicted_aligned_error"] == exact.round(1).tolist()


@pytest.mark.parametrize("largest", [None, 0.0])
def test_the_largest_error_may_be_unknown(publish: Publish, largest: float | None) -> None:
    model = stored_model()
    assert model.pae is not None
    kept = publish(model=replace(model, max_pae=largest))
    stated = json.loads(kept.file("pae"))[0]["max_predicted_aligned_error"]
    assert stated == model.pae.max()
    assert kept.file("pae_png").startswith(b"\x89PNG")


def test_a_version_may_have_no_errors_and_no_alignment(publish: Publish) -> None:
    kept = publish(model=stored_model(has_pae=False))
    for kind in ("pae", "pae_png", "msa"):
        assert render(kept.database, kept.entry, kept.entry.latest, kind) is None
    assert kept.file("cif")


# Alignments, ensembles, damage


def test_alignments_are_as_they_were_kept(publish: Publish) -> None:
    one, other = b">query\nMKT\n", b">query\nGSH\n"
    assert publish(alignments=(one,), content_key="one").file("msa") == one
    kept = publish(CHAINS["heterotrimer"], alignments=(one, other))
    assert kept.file("msa") == one + b"\0" + other
    found = [text for _, text in split_entries(kept.file("msa").decode())]
    assert found == [one.decode(), other.decode()]


def test_other_ranks_are_rendered(publish: Publish) -> None:
    best, second = stored_model(seed=1), stored_model(seed=2)
    kept = publish(model=best, ensemble=(second,))
    for rank, model in enumerate([best, second]):
        scores = json.loads(kept.file("confidence", rank=rank))["confidenceScore"]
        assert scores == model.record.plddt.tolist()
    with pytest.raises(InputError, match="has no model of rank 2"):
        kept.file("cif", rank=2)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_equal_arguments_give_equal_bytes(publish: Publish, kind: str) -> None:
    kept = publish(CHAINS["heterotrimer"], accession=None)
    opened = kept.database.record(kept.entry)
    assert kept.file(kind) == kept.file(kind) == kept.file(kind, opened=opened)


def test_a_damaged_record_is_reported(publish: Publish) -> None:
    kept = publish()
    opened = kept.database.record(kept.entry)
    opened._sections["plddt"] = memoryview(b"\xff" * 3)
    for kind in KINDS[:-1]:
        with pytest.raises(OutsideError, match="has a damaged record"):
            kept.file(kind, opened=opened)
