"""The names under which scores are handed on."""

from __future__ import annotations

import json

from foldry.score.assess import ScoreSettings, assess
from foldry.score.table import NUMBERS, numbers, to_json
from tests.score.test_match import chain, joined

SETTINGS = ScoreSettings()


def test_json_has_the_names_of_openstructure() -> None:
    model = joined(chain("ACDEFGHIKL", chain_id="A"), chain("ACD", chain_id="B"))
    reference = joined(chain("ACDEFGHIKLMN", chain_id="A"), chain("AWD", chain_id="B"))
    found = json.loads(json.dumps(to_json(assess(model, reference, SETTINGS)), allow_nan=False))
    assert found["status"] == "SUCCESS"
    assert found["chain_mapping"] == {"A": "A", "B": "B"}
    assert found["inconsistent_residues"] == ["B.TRP2-B.CYS2"]
    assert found["unmatched_reference"] == ["A.11.", "A.12."]
    assert found["local_lddt"].keys() == found["bb_local_lddt"].keys()
    assert list(found["local_lddt"])[:2] == ["A.1.", "A.2."]
    assert len(found["local_lddt"]) == len(model)
    wanted = {"lddt", "bb_lddt", "tm_score", "rmsd", "oligo_gdtts", "oligo_gdtha"}
    assert wanted <= found.keys()


def test_what_has_no_meaning_is_null() -> None:
    alone = assess(chain("M"), chain("M"), SETTINGS)
    assert to_json(alone)["bb_lddt"] is None
    assert to_json(alone)["rmsd"] == 0
    assert to_json(alone)["num_matched"] == 1


def test_numbers_stand_under_their_names() -> None:
    assessment = assess(chain("ACDEFGHIKL"), chain("ACDEFGHIKLMN"), SETTINGS)
    values = dict(zip((each.key for each in NUMBERS), numbers(assessment), strict=True))
    assert len(values) == len(NUMBERS), "two of one name"
    assert values["lddt"] == round(assessment.scores.lddt, 4)
    assert values["bb_lddt"] == round(assessment.scores.lddt_ca, 4)
    assert values["tm_score"] == round(assessment.scores.tm_score, 4)
    assert values["num_reference"] == 12
