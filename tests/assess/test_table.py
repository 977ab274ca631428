"""The names of scores in JSON, CSV and the docs."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest

from foldry.assess.assess import Assessment, ScoreSettings, assess
from foldry.assess.inputs import Model
from foldry.assess.table import NUMBERS, numbers, to_json, value
from foldry.measures import MEASURES
from foldry.structure import Structure
from tests.conftest import ROOT
from tests.score.test_match import chain, joined

SETTINGS = ScoreSettings()


def json_of(model: Structure, reference: Structure | None) -> dict[str, object]:
    names = "m.pdb", None if reference is None else "r.pdb"
    found = to_json(assess(Model(model), reference, SETTINGS), *names)
    again: dict[str, object] = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    return found


@pytest.fixture(scope="module")
def dimer(structures: list[Structure]) -> Assessment:
    """A predicted dimer that has everything: one chain cut in two, pLDDT, PAE, a reference."""
    whole = next(each for each in structures if len(each) > 120).select(np.arange(120))
    reference = dataclasses.replace(whole, chain_id=np.repeat(["A", "B"], 60))
    rng = np.random.default_rng(3)
    noise = rng.normal(size=reference.atom_positions.shape) * 0.3
    model = dataclasses.replace(
        reference,
        atom_positions=reference.atom_positions + noise,
        b_factor=np.repeat(rng.uniform(30, 90, 120)[:, None], 37, axis=1),
    )
    pae = rng.uniform(0.5, 9, (120, 120))
    return assess(Model(model, model.b_factor[:, 0], pae), reference, SETTINGS)


def test_every_number_of_a_predicted_complex(dimer: Assessment) -> None:
    found = dict(zip(NUMBERS, numbers(dimer), strict=True))
    assert [key for key, number in found.items() if number is None] == []
    assert found.keys() <= to_json(dimer, "m.pdb", "r.pdb").keys()
    agreement = dimer.agreement
    assert agreement is not None
    assert agreement.complex is not None
    assert found["lddt"] == round(agreement.scores.lddt, 4)
    assert found["bb_lddt"] == round(agreement.scores.lddt_ca, 4)
    assert found["tm_score"] == round(agreement.scores.tm_score, 4)
    assert found["dockq_ave"] == round(agreement.complex.dockq.interfaces[0].dockq, 4)
    assert found["qs_global"] == round(agreement.complex.qs.total, 4)
    assert found["num_reference"] == 120
    assert found["plddt"] == pytest.approx(60, abs=10)


def test_lists_of_interfaces_and_calibrations(dimer: Assessment) -> None:
    found = to_json(dimer, "m.pdb", "r.pdb")
    assert found["dockq_interfaces"] == [["A", "B", "A", "B"]]
    assert found["dockq"] == [found["dockq_ave"]]
    assert found["dockq_clashes"] == [dimer.agreement.complex.dockq.interfaces[0].clashes]
    pairs = found["confidence_of_chains"]
    assert isinstance(pairs, list)
    assert [each["chains"] for each in pairs] == [["A", "B"], ["B", "A"]]
    assert max(each["ipsae"] for each in pairs) == found["ipsae"]
    curve = found["plddt_calibration"]
    assert isinstance(curve, dict)
    assert sum(curve["count"]) == 120
    assert curve["pearson"] == found["plddt_pearson"]
    assert isinstance(found["pae_calibration"], dict)


def test_json_has_the_names_of_openstructure() -> None:
    model = joined(chain("ACDEFGHIKL", chain_id="A"), chain("MNP", chain_id="B"))
    reference = joined(chain("ACDEFGHIKLMN", chain_id="A"), chain("MWP", chain_id="B"))
    found = json_of(model, reference)
    assert found["status"] == "SUCCESS"
    assert found["chain_mapping"] == {"A": "A", "B": "B"}
    assert found["inconsistent_residues"] == ["B.TRP2-B.ASN2"]
    assert found["unmatched_reference"] == ["A.11.", "A.12."]
    local, local_ca = found["local_lddt"], found["bb_local_lddt"]
    assert isinstance(local, dict)
    assert isinstance(local_ca, dict)
    assert local.keys() == local_ca.keys()
    assert list(local)[:2] == ["A.1.", "A.2."]
    assert len(local) == len(model)
    wanted = {"lddt", "bb_lddt", "tm_score", "rmsd", "oligo_gdtts", "oligo_gdtha", "dockq", "ics"}
    assert wanted <= found.keys()


def test_unknown_values_are_null_and_meaningless_keys_left_out() -> None:
    found = json_of(chain("M"), chain("M"))
    assert found["bb_lddt"] is None
    assert found["rmsd"] == 0
    assert found["num_matched"] == 1
    assert not {"dockq_ave", "ptm", "plddt"} & found.keys()


def test_a_model_alone() -> None:
    model = chain("ACDEF")
    model.atom_positions[3:] += 20
    found = json_of(model, None)
    assert found["num_clashes"] == 0
    assert found["residues_with_break_before"] == ["A.4."]
    assert found["num_breaks"] == 1
    assert not {"lddt", "reference", "local_lddt"} & found.keys()


def test_stereochemistry_takes_bad_atoms_from_lddt_alone(structures: list[Structure]) -> None:
    structure = structures[0]
    model = dataclasses.replace(structure, atom_positions=structure.atom_positions.copy())
    model.atom_positions[20] += 2  # its bonds to both neighbours are broken
    plain, strict = (
        assess(Model(model), structure, ScoreSettings(stereochemistry=flag))
        for flag in (False, True)
    )
    changed = {key for key in NUMBERS if value(plain, key) != value(strict, key)}
    changed -= {key for key in NUMBERS if np.isnan(value(plain, key) or 0)}
    assert changed == {"lddt"}
    assert plain.agreement is not None
    assert strict.agreement is not None
    assert strict.agreement.scores.lddt < plain.agreement.scores.lddt
    per_residue = strict.agreement.scores.lddt_per_residue
    assert per_residue[20] == 0
    assert plain.agreement.scores.lddt_per_residue[20] > 0


def keys(found: object) -> Iterator[str]:
    """Every key but the names of chains and residues."""
    if isinstance(found, dict):
        for key, inner in found.items():
            yield key
            if key not in ("local_lddt", "bb_local_lddt", "chain_mapping"):
                yield from keys(inner)
    elif isinstance(found, list):
        for each in found:
            yield from keys(each)


def rows_of_docs() -> list[list[str]]:
    """The cells of every row of the tables in docs/evaluate.md that begins with keys."""
    page = (ROOT / "docs" / "evaluate.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_every_name_is_documented(dimer: Assessment) -> None:
    names = {*keys(to_json(dimer, "m.pdb", "r.pdb")), *NUMBERS}
    documented = {name for first, *_ in rows_of_docs() for name in re.findall(r"`(\w+)`", first)}
    cells = " ".join(cell for row in rows_of_docs() for cell in row)
    assert sorted(name for name in names if f"`{name}`" not in cells) == []
    assert documented - names == set(), "documented and not there"


def test_names_and_units_of_docs_are_those_of_the_registry() -> None:
    found = set()
    for first, *rest in rows_of_docs():
        measures = [MEASURES[key] for key in re.findall(r"`(\w+)`", first) if key in MEASURES]
        if measures:
            found |= {each.key for each in measures}
            names, units = ([getattr(m, field) for m in measures] for field in ("name", "unit"))
            assert rest[0] == "; ".join(names), first
            assert rest[1] == ", ".join(dict.fromkeys(units)), first
    assert NUMBERS.keys() - found == set()
