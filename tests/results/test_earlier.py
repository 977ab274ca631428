"""Folders of an earlier version and of this version are read with equal values."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldry.cli.main import main
from foldry.formats.coordinates import read_structure
from foldry.formats.pae import read_pae
from foldry.measures import MEASURES
from foldry.results.folder import StoredPrediction, read_results
from foldry.results.screen import NUMBERS, ScreenRow, read_screen_table, screen_html, write_screen
from tests.conftest import ROOT

EARLIER = ROOT / "tests" / "golden" / "results"
FOLDERS = ("fold/q", "screen/pairs/bait_and_a")


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the same commands in this version."""
    path = ROOT / "benchmarks" / "oracles" / "earlier_results.py"
    spec = importlib.util.spec_from_file_location("earlier_results", path)
    assert spec and spec.loader
    recorded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorded)
    work = tmp_path_factory.mktemp("today")
    (work / "q.fasta").write_text(">q\nMKVLAAGIVG\n")
    (work / "q.csv").write_text(recorded.TABLE)
    subprocess.run(
        [sys.executable, "-c", recorded.WEIGHTS, work / recorded.WEIGHTS_FILE], check=True
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(work)
        for words in recorded.COMMANDS:
            assert main(words.split()) == 0
    return work


@pytest.mark.parametrize("name", FOLDERS)
def test_values_are_those_of_the_files(name: str) -> None:
    folder = EARLIER / name
    order = json.loads((folder / "ranking_debug.json").read_text())["order"]
    found = read_results(folder)
    assert [each.name for each in found] == order
    for rank, each in enumerate(found):
        scores = json.loads((folder / f"scores_{each.name}.json").read_text())
        assert each.numbers == {key: scores.get(key) for key in each.numbers}
        assert each.plddt is not None and each.plddt.tolist() == scores["plddt"]
        assert each.provenance is not None
        assert each.provenance.weights_sha256 == scores["provenance"]["weights_sha256"]
        assert read_structure(each.structure).sequence
        assert each.structure.name == f"ranked_{rank}.cif"
        assert each.pae is not None and len(read_pae(each.pae).errors) == len(each.plddt)
        for chain in scores.get("chains", ()):
            assert each.chains[chain["chain"]]["pdockq2"] == chain["pdockq2"]
        for there, interface in zip(scores.get("interfaces", ()), each.interfaces, strict=True):
            assert list(interface.chains) == there["chains"]
            forth, back = there["ipsae"]
            assert interface.number("ipsae") == max(forth, back)
            assert interface.number("contacts") == there["contacts"]


def test_the_table_of_a_screen() -> None:
    with (EARLIER / "screen" / "screen.csv").open(newline="") as file:
        [there] = csv.DictReader(file)
    [row] = read_screen_table(EARLIER / "screen")
    assert (row.name, row.a, row.b, row.state) == ("bait_and_a", "bait", "a", "done")
    known = {key: float(there[key]) for key in there if key in MEASURES and there[key]}
    assert {key: row.numbers[key] for key in known} == known
    assert known["residues"] == 16


def rounded(stored: StoredPrediction) -> dict[str, object]:
    """Return the numbers of a prediction, without the paths of its files, its date and kernels."""
    assert stored.plddt is not None and stored.provenance is not None
    made = replace(stored.provenance, created="", versions={}, kernels={})
    return {
        "name": stored.name,
        "numbers": pytest.approx(stored.numbers, abs=2e-4),
        "chains": {name: pytest.approx(each, abs=2e-4) for name, each in stored.chains.items()},
        "interfaces": [
            (each.chains, pytest.approx({k: each.number(k) for k in each.numbers}, abs=2e-4))
            for each in stored.interfaces
        ],
        "made": made,
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_both_versions_have_equal_values(name: str, today: Path) -> None:
    for before, now in zip(read_results(EARLIER / name), read_results(today / name), strict=True):
        assert now.provenance is not None
        assert before.provenance is not None
        config: dict[str, Any] = now.provenance.config
        old: dict[str, Any] = before.provenance.config
        structure = {name: config["structure"][name] for name in old["structure"]}
        made = replace(
            now.provenance,
            created="",
            versions={},
            kernels={},
            licence="",
            process={},
            templates_read=None,
            config={name: config[name] for name in old} | {"structure": structure},
            weights_sha256=before.provenance.weights_sha256,  # the configuration is in the file
        )
        numbers = {
            "name": now.name,
            "numbers": now.numbers,
            "chains": now.chains,
            "interfaces": [
                (each.chains, {k: each.number(k) for k in each.numbers}) for each in now.interfaces
            ],
            "made": made,
        }
        assert numbers == rounded(before)
        assert now.plddt is not None and before.plddt is not None
        np.testing.assert_allclose(now.plddt, before.plddt, atol=0.011)


@pytest.mark.parametrize("names", [("", ""), ("p", "q")])
def test_a_screen_s_table_begins_with_its_columns(tmp_path: Path, names: tuple[str, str]) -> None:
    numbers: dict[str, float | None] = {"iptm": 0.5, "residues": 12.0}
    row = ScreenRow("pair", *names, state="done", numbers=numbers, depths=(7, 12))
    write_screen([row], tmp_path)
    [table] = tmp_path.glob("*.csv")
    [head, line] = csv.reader(table.read_text().splitlines())
    proteins = ["a", "b"] if names[0] else []
    assert head == ["id", *proteins, *(each.key for each in NUMBERS), "depths", "state", "reason"]
    cells = dict(zip(head, line, strict=True))
    assert (cells["id"], cells["state"], float(cells["iptm"])) == ("pair", "done", 0.5)
    [read] = read_screen_table(tmp_path)
    assert (read.name, read.a, read.b, read.depths) == ("pair", *names, (7, 12))
    assert {key: value for key, value in read.numbers.items() if value is not None} == row.numbers


def test_columns_of_a_screen_first_sort_best_first() -> None:
    """The first click on a column puts its best values first, or the pairs that clash."""
    page = screen_html([])
    first = {
        title: order
        for order, title in re.findall(r'data-first="(\w+)"><button[^>]*>([^<]+)<', page)
    }
    shown = {each.name: each for each in NUMBERS}
    assert first["Pair"] == "ascending"
    assert first[shown["ipTM"].name] == "descending"
    for measure in NUMBERS:
        title = f"{measure.name}, {measure.unit}" if measure.unit == "Å" else measure.name
        down = measure.better == "higher" or measure.key == "has_clash"
        assert first[title] == ("descending" if down else "ascending"), title
