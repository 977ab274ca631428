"""Render, import, render again: the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.database.database import Database
from foldry.database.entry import Deposit, Entry, Facts, StoredModel
from foldry.database.export import FORMATS, export
from foldry.database.filters import Filter
from foldry.database.imports.run import import_paths
from foldry.database.render import KINDS, file_name, render
from foldry.database.selection import select
from foldry.formats.model_record import ChainMetric, Reference, Step
from foldry.measures import MEASURES
from tests.database.conftest import Make
from tests.database.deposits import SEQUENCE, deposit, stored_model
from tests.formats.test_modelcif import everything

FACTS = Facts(
    description="Tyrosine-protein kinase ABL1 (c-Abl; 'Abelson')",
    uniprot_id="ABL1_MOUSE",
    gene="Abl1",
    organism="Mus musculus",
    tax_id=10090,
    sequence_version_date="2009-05-05",
)

ALIGNMENT = f">q\n{SEQUENCE}\n".encode()


def complex_model() -> StoredModel:
    """Two copies of one protein, which UniProt has, and another, with scores of the chains."""
    model = stored_model([(SEQUENCE, 2), ("GSHMWLPDE", 1)], seed=3)
    one, other = model.record.chains
    one = replace(
        one, description="Kinase α, “c-Abl”", reference=Reference("P00520", end=22, gene="Abl1")
    )
    chains, pairs = MEASURES["ptm"], MEASURES["iptm"]
    matrix = np.array([[np.nan, 0.5, 0.25], [0.5, np.nan, 0.125], [0.25, 0.125, np.nan]])
    record = replace(
        model.record,
        chains=(one, other),
        scores={"ptm": 0.75, "iptm": 0.5},
        of_chains=[ChainMetric(chains, matrix[0].round() + 1), ChainMetric(pairs, matrix)],
    )
    assert model.pae is not None
    pae = np.random.default_rng(4).uniform(0, 31, model.pae.shape).round(2)
    return replace(model, record=record, pae=pae)


def history_model() -> StoredModel:
    """A relaxed prediction with everything that is known about its making."""
    model = stored_model(seed=6)
    step = Step(
        {"foldry": "0.9", "torch": "2.9.0"},
        {
            "seed": 7,
            "recycles": 3,
            "crop": {"msa": 128, "kept": True},
            "share": 0.1,
            "names": ["a"],
        },
    )
    record = replace(
        model.record,
        title="Prediction of Abelson's kinase; by model_1_ptm",
        authors=("Jumper, J.", "Foldry"),
        prediction=step,
        relaxation=Step({"openmm": "8.2"}, {"rounds": 2, "energy": -1234.5}),
        notice="Not for clinical use.",
        licence="CC BY-NC 4.0",
        inputs="Predicted by model_1_ptm from the sequence with no alignment and no templates.",
        model_name="model_1_ptm",
    )
    return replace(model, record=record)


def templates_model() -> StoredModel:
    """A complex with all that a record can say."""
    record = everything()
    record = replace(record, plddt=record.structure.b_factor.max(axis=1))
    pae = np.random.default_rng(5).uniform(0, 31, (len(record.plddt),) * 2).round(2)
    return StoredModel(record=record, pae=pae, max_pae=31.75)


def awkward_model() -> StoredModel:
    """Residues that are not known, without atoms or with a gap in their numbers."""
    model = stored_model([("MKTXXAYIXKQRX", 1)], seed=8)
    structure = model.record.structure
    mask, numbers = structure.atom_mask.copy(), structure.residue_number.copy()
    mask[2] = mask[7, 1:] = False
    numbers[5:] += 10
    structure = replace(
        structure,
        atom_mask=mask,
        atom_positions=np.where(mask[..., None], structure.atom_positions, 0.0),
        b_factor=np.where(mask, structure.b_factor, 0.0),
        residue_number=numbers,
    )
    return replace(model, record=replace(model.record, structure=structure))


DEPOSITS: dict[str, Deposit] = {
    "monomer": deposit(),
    "without errors": deposit(model=stored_model(has_pae=False)),
    "homodimer": deposit([(SEQUENCE, 2)], seed=1),
    "known homodimer": deposit([(SEQUENCE, 2)], accession="P00520", facts=FACTS),
    "complex": deposit(model=complex_model(), alignments=(ALIGNMENT, b">q\nGSHMWLPDE\n")),
    "unknown residues": deposit(model=awkward_model()),
    "accession": deposit(accession="P00520", facts=FACTS, alignments=(ALIGNMENT,)),
    "isoform": deposit(accession="P00520-4", facts=FACTS),
    "fragment": deposit(accession="Q14676", fragment=2, facts=FACTS),
    "long accession": deposit(accession="A0A2L2JPH6", version=6),
    "facts alone": deposit(facts=FACTS),
    "templates": deposit(model=templates_model()),
    "history": deposit(model=history_model(), accession="P00520"),
    "another tool": deposit(
        model=replace(
            stored_model(),
            record=replace(stored_model().record, prediction=Step({"AlphaFold": "2.3.2"}, {})),
        ),
        tool="AlphaFold",
        accession="P00520",
    ),
}


def rendered(database: Database, entry: Entry) -> dict[str, bytes]:
    """All files of the latest version."""
    data = {kind: render(database, entry, entry.latest, kind) for kind in KINDS}
    return {
        file_name(entry, entry.latest, kind): each
        for kind, each in data.items()
        if each is not None
    }


def imported(database: Database, paths: Iterable[Path]) -> Entry:
    outcomes = list(import_paths(database, paths))
    assert [each.problem for each in outcomes] == [""]
    [entry] = database.entries()
    return entry


@pytest.mark.parametrize("kind", ["cif", "bcif"])
@pytest.mark.parametrize("name", DEPOSITS)
def test_rendered_files_come_back(name: str, kind: str, make_sqlite: Make, tmp_path: Path) -> None:
    """From the text or the binary file of the structure, with the files of errors and alignment."""
    first, second = make_sqlite(), make_sqlite()
    [place] = first.publish([DEPOSITS[name]])
    entry = first.entry(place.entry_id)
    files = rendered(first, entry)
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    (tmp_path / file_name(entry, entry.latest, "bcif" if kind == "cif" else "cif")).unlink()
    again = imported(second, sorted(path for path in tmp_path.iterdir() if path.is_file()))
    assert (again.entry_id, again.latest.number) == (entry.entry_id, entry.latest.number)
    assert rendered(second, again) == files


def test_exact_errors_come_back(make_sqlite: Make, tmp_path: Path) -> None:
    first, second = make_sqlite(exact_pae=True), make_sqlite(exact_pae=True)
    exact = np.random.default_rng(0).uniform(0, 31, (len(SEQUENCE),) * 2)
    [place] = first.publish([deposit(model=replace(stored_model(), pae=exact))])
    files = rendered(first, first.entry(place.entry_id))
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    paths = sorted(path for path in tmp_path.iterdir() if path.is_file())
    assert rendered(second, imported(second, paths)) == files


@pytest.mark.parametrize("layout", FORMATS)
def test_importing_an_export_changes_nothing(
    layout: str, make_sqlite: Make, tmp_path: Path
) -> None:
    database = make_sqlite()
    names = ["accession", "fragment", "homodimer", "templates", "unknown residues"]
    for name in names:
        letters = [chain.sequence for chain in DEPOSITS[name].model.record.chains]
        aligned = tuple(f">query\n{each}\n".encode() for each in letters)
        database.publish([replace(DEPOSITS[name], content_key=name, alignments=aligned)])
    database.publish([deposit(accession="P00520", seed=9, facts=FACTS)])
    state, out = database.state, tmp_path / ("out.zip" if layout == "zip" else "out")
    chosen = replace(select(database, Filter()), all_versions=True)
    done = export(database, chosen, out, layout, lambda *_: None)
    found = list(import_paths(database, [out]))
    assert done.num_entries == (2 if layout == "kit" else 5)
    assert len(found) == (2 if layout == "kit" else 6)
    assert all(each.published and not each.published.is_new for each in found)
    assert database.state == state
