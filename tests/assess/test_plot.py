"""The plot shows every residue once, in the colour of its band."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.assess.assess import ScoreSettings, assess
from foldry.assess.inputs import Model
from foldry.assess.plot import BANDS, Track, to_svg, tracks
from foldry.structure import Structure
from tests.score.test_match import chain, joined

NAMES = ("model", "reference")
SVG = "{http://www.w3.org/2000/svg}"


def track(lddt: list[float], name: str = "A", plddt: list[float] | None = None) -> Track:
    num = len(lddt)
    return Track(
        name,
        np.arange(1, num + 1),
        np.array(lddt),
        np.isfinite(lddt),
        np.full(num, np.nan) if plddt is None else np.array(plddt),
    )


def drawn(svg: str, **attributes: str) -> str:
    """The data of the paths that have these attributes."""
    paths = ET.fromstring(svg).iter(f"{SVG}path")
    wanted = attributes.items()
    return "".join(path.get("d", "") for path in paths if wanted <= path.attrib.items())


def test_bars_by_band() -> None:
    svg = to_svg("x", NAMES, [track([0.2, 0.5, 0.69, 0.7, 0.9, 1.0, np.nan])])
    heights = {
        color: [float(height) for height in re.findall(r"v(-[\d.]+)", drawn(svg, fill=color))]
        for _, color in BANDS
    }
    assert list(heights.values()) == [[-30], [-75, -103.5], [-105], [-135, -150]]
    assert drawn(svg, fill="#DCDCDC").count("M") == 1  # the residue that the model lacks
    assert "not in the model" in svg
    assert "not in the model" not in to_svg("x", NAMES, [track([0.5])])


def test_plddt_is_a_line_with_gaps() -> None:
    svg = to_svg("x", NAMES, [track([0.5] * 5, plddt=[10, 20, np.nan, 40, 50])])
    line = drawn(svg, stroke="#222", fill="none")
    assert re.sub(r"[^ML]", "", line) == "MLML"
    assert "pLDDT" in svg
    assert "pLDDT" not in to_svg("x", NAMES, [track([0.5])])


def test_names_are_text() -> None:
    long = "<script>&\x1b\0" + "a" * 100
    svg = to_svg("x", (long, long), [track([0.5], "<b>"), track([0.5], "C")])
    words = [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert re.fullmatch(r"(<script>&a{10}…) against \1", words[1])  # 20 letters each
    assert "Chain <b>" in words


def test_the_legend_has_a_labelled_square_for_each_colour() -> None:
    """Every square has a label, and nothing overlaps or leaves the picture."""
    root = ET.fromstring(to_svg("x", NAMES, [track([0.5, np.nan]), track([0.5], "B")]))
    squares = [each for each in root.iter(f"{SVG}rect") if each.get("fill") != "#FFF"]
    texts = {
        (float(text.get("x", 0)), float(text.get("y", 0))): text.text
        for text in root.iter(f"{SVG}text")
    }
    found, spots = {}, set()
    for square in squares:
        x, y, width = (float(square.get(name, "nan")) for name in ("x", "y", "width"))
        assert 0 <= x <= float(root.get("width", 0)) - width
        spots.add((x, y))
        found[texts[x + width + 6, y + width - 2]] = square.get("fill")
    labels = ["≥ 90", "≥ 70", "≥ 50", "< 50"]
    bands = dict(zip(labels, [color for _, color in reversed(BANDS)], strict=True))
    assert found == bands | {"not in the model": "#DCDCDC"}
    assert len(spots) == len(squares)
    title_row = next(y for (_, y), text in texts.items() if text == "lDDT-Cα × 100")
    assert {y for (_, y), text in texts.items() if text in labels} == {title_row}


@given(
    st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=40),
    st.lists(st.integers(-999, 9999), min_size=40, max_size=40),
)
def test_any_chain_is_drawn_inside_the_picture(lddt: list[float], numbers: list[int]) -> None:
    one = dataclasses.replace(track(lddt), numbers=np.array(numbers[: len(lddt)]))
    root = ET.fromstring(to_svg("x", NAMES, [one]))
    width = float(root.get("width", 0))
    for path in root.iter(f"{SVG}path"):
        places = re.findall(r"M([\d.]+) ", path.get("d", ""))
        assert all(0 <= float(place) <= width for place in places)
    labels = [text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert len(labels) <= 13  # the axis's title is one


def test_ticks_of_a_chain_with_a_gap_that_is_not_resolved() -> None:
    numbers = np.r_[1:71, 81:211]
    one = dataclasses.replace(track([0.5] * 200), numbers=numbers)
    root = ET.fromstring(to_svg("x", NAMES, [one]))
    labels = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert labels == [*map(str, (20, 40, 60, 100, 120, 140, 160, 180, 200)), "residue"]


def test_bars_show_the_score_that_plddt_predicts(structures: list[Structure]) -> None:
    structure = structures[0]
    model = Model(dataclasses.replace(structure, atom_positions=structure.atom_positions.copy()))
    model.structure.atom_positions[:, 4:] += 9  # side chains alone
    agreement = assess(model, structure, ScoreSettings()).agreement
    assert agreement is not None
    assert agreement.scores.lddt < 0.9
    (found,) = tracks(model, agreement)
    assert np.nanmin(found.lddt) == 1


def test_tracks_are_in_the_references_order() -> None:
    reference = joined(chain("ACDEFGHIKL"), chain("MNPQRSTVWY", chain_id="B"))
    atoms = joined(chain("MNPQRSTV", chain_id="B"), chain("CDEFGHIKL", first=2))
    model = Model(atoms, np.arange(len(atoms)) + 10.0)
    agreement = assess(model, reference, ScoreSettings()).agreement
    assert agreement is not None
    found = tracks(model, agreement)
    assert [each.name for each in found] == ["A", "B"]
    assert found[0].known.tolist() == [False] + [True] * 9
    assert found[1].known.tolist() == [True] * 8 + [False] * 2
    assert found[1].numbers.tolist() == list(range(1, 11))
    assert np.isnan(found[0].plddt[0])
    assert found[0].plddt[1:].tolist() == list(range(18, 27))
    assert found[1].plddt[:8].tolist() == list(range(10, 18))


def swatches(svg: str) -> dict[str, tuple[float, float]]:
    """The place of each label of the legend."""
    place = {
        text.text or "": (float(text.get("x", "nan")), float(text.get("y", "nan")))
        for text in ET.fromstring(svg).iter(f"{SVG}text")
    }
    return {label: xy for label, xy in place.items() if label[:1] in "≥<n"}


def test_the_legend_is_on_two_lines_that_begin_together() -> None:
    svg = to_svg("x", NAMES, [track([0.2, np.nan])])
    places = swatches(svg)
    rows = [y for _, y in places.values()]
    assert rows == [rows[0]] * len(BANDS) + [rows[-1]] and 15 < rows[-1] - rows[0] < 40
    across = [x for x, _ in places.values()]
    assert across[:-1] == sorted(set(across[:-1])) and across[-1] == across[0]
    texts = ET.fromstring(svg).iter(f"{SVG}text")
    [height] = [text.get("y") for text in texts if text.text == "lDDT-Cα × 100"]
    assert height == f"{rows[0]:g}"


def test_the_legend_names_missing_residues_of_any_chain() -> None:
    svg = to_svg("x", NAMES, [track([0.5, 0.5]), track([0.5, np.nan], "B")])
    assert "not in the model" in svg


@pytest.mark.parametrize("length", [10, 100, 1000])
def test_long_names_are_cut(length: int) -> None:
    name = "x" * length
    svg = to_svg(name, NAMES, [track([0.5])])
    shown = re.findall("x+…?", svg.split("<title>")[1].split(":")[0])[0]
    assert shown == name if length == 10 else len(shown) < 100 <= length and shown[-1] == "…"
