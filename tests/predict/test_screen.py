"""The table of a screen: its numbers, and its page in a browser."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from foldry.inputs.pairs import Pair
from foldry.predict.screen import measures
from foldry.query import Chain, Query
from foldry.results.screen import (
    NUMBERS,
    ScreenRow,
    read_screen_table,
    screen_html,
    write_screen,
)
from tests.browser import Page
from tests.predict.fake import fake_prediction

EVIL = '</td><script>alert(1)</script><img src=x onerror=alert(2)> & "quotes"'
VALUES = {
    "iptm": (0.5, 0.9, 0.1),
    "ranking_confidence": (0.3, 0.8, 0.2),
    "has_clash": (1, 0, None),
}


def interface(
    chains: str, ipsae: tuple[float, float], lis: tuple[float, float], iptm: tuple[float, float]
) -> dict[str, object]:
    numbers = {
        "pdockq": 0.4,
        "interface_pae": [4.0, 6.0],
        "contacts": len(chains) + 1,
    }
    return {"chains": list(chains), "iptm": iptm, "ipsae": ipsae, "lis": lis, **numbers}


@pytest.mark.parametrize(
    ("num_first", "expected"),
    [
        # A and B are of the first protein, whose inner interface is the best and does not count.
        (2, {"iptm": 0.4, "ranking_confidence": 0.44, "ipsae": 0.6, "lis": 0.25, "pdockq2": 0.3}),
        # The proteins are unknown: ipTM describes the whole complex.
        (0, {"iptm": 0.7, "ranking_confidence": 0.68, "ipsae": 0.9, "lis": 0.8, "pdockq2": 0.2}),
    ],
)
def test_measures_of_the_interface(
    tmp_path: Path, num_first: int, expected: dict[str, float]
) -> None:
    scores = {
        "iptm": 0.7,
        "ptm": 0.6,
        "ranking_confidence": 0.68,
        "mean_plddt": 81.5,
        "has_clash": True,
        "chains": [{"chain": c, "pdockq2": q} for c, q in zip("ABC", (0.1, 0.2, 0.3), strict=True)],
        "interfaces": [
            interface("AB", [0.9, 0.8], [0.7, 0.9], [0.95, 0.9]),
            interface("AC", [0.1, 0.2], [0.1, 0.1], [0.5, 0.1]),
            interface("BC", [0.5, 0.6], [0.2, 0.3], [0.3, 0.4]),
        ],
    }
    (tmp_path / "ranking_debug.json").write_text('{"order": ["m_pred_1", "m_pred_0"]}')
    scores |= {"plddt": [81.5], "provenance": asdict(fake_prediction().provenance)}
    for name in ("m_pred_1", "m_pred_0"):
        (tmp_path / f"scores_{name}.json").write_text(json.dumps(scores))
    pair = Pair(Query("q", (Chain(("A", "B", "C"), "MKT"),)), "x", "y", "here", num_first)
    found = measures(tmp_path, pair)
    whole = {"ptm": 0.6, "mean_plddt": 81.5, "has_clash": 1}
    rest = {"pdockq": 0.4, "interface_pae": 5.0, "contacts": 3}
    assert found == pytest.approx({**whole, **rest, **expected})
    assert set(found) == {each.key for each in NUMBERS} - {
        "residues",
        "paired_rows",
        "seconds",
    }


def rows() -> list[ScreenRow]:
    """Three finished rows, one failed row and one waiting row."""
    done = [
        ScreenRow(
            f"bait_and_{name}",
            "bait",
            name,
            "done",
            numbers={each.key: 0.5 for each in NUMBERS}
            | {key: values[k] for key, values in VALUES.items()}
            | {"residues": 100 + k, "seconds": 10.0 * k},
        )
        for k, name in enumerate(("p10", "p9", "p2"))
    ]
    done[0] = replace(done[0], numbers={**done[0].numbers, "interface_pae": None})
    taken = {"residues": 99, "seconds": 1.5}
    failed = ScreenRow("bait_and_p3", "bait", "p3", "failed", EVIL, numbers=taken)
    return [*done, failed, ScreenRow("bait_and_p4", "bait", "p4", numbers={"residues": 98})]


@pytest.mark.parametrize("names", [("a", "b"), ()])
def test_the_csv_file_names_proteins_if_there_are_any(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    given = rows() if names else [replace(row, a="", b="") for row in rows()]
    write_screen(given, tmp_path)
    with (tmp_path / "screen.csv").open(newline="") as file:
        read = csv.DictReader(file)
        first = next(read)
    assert read.fieldnames == [
        "id",
        *names,
        *(each.key for each in NUMBERS),
        "depths",
        "state",
        "reason",
    ]
    assert [first[name] for name in names] == ["bait", "p10"][: len(names)]
    assert (first["iptm"], first["has_clash"], first["interface_pae"]) == ("0.5", "1", "")
    assert first["state"] == "done"
    for row, read_back in zip(given, read_screen_table(tmp_path), strict=True):
        numbers = {each.key: row.numbers.get(each.key) for each in NUMBERS}
        assert read_back == replace(row, numbers=numbers)
        assert not read_back.is_new


def test_no_text_of_the_csv_file_is_a_formula(tmp_path: Path) -> None:
    row = ScreenRow("-x", "=a", "+b", "failed", "@reason", numbers={"residues": 1.0})
    write_screen([row], tmp_path)
    with (tmp_path / "screen.csv").open(newline="") as file:
        [cells] = csv.DictReader(file)
    assert [cells[key] for key in ("id", "a", "b", "reason")] == ["'-x", "'=a", "'+b", "'@reason"]
    [again] = read_screen_table(tmp_path)
    assert (again.name, again.a, again.b, again.reason) == ("-x", "=a", "+b", "@reason")


def test_messages_are_only_text() -> None:
    page = screen_html(rows(), notice=EVIL)
    assert page.count("<script>") == 1
    assert "<img" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("data:", "pairs/")), address
    assert "bait_and_p4/report.html" not in page, "there is none"


@pytest.fixture(scope="module", params=[1500, 1280, 390])
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("screen")
    write_screen(rows(), folder)
    with Page(request.param, 900) as opened:
        opened.open(folder / "screen.html", "document.body?.dataset.ready === 'true'")
        yield opened


def shown(page: Page) -> list[str]:
    names = (
        "[...document.querySelectorAll('#pairs tbody tr:not([hidden]) th')].map(e => e.innerText)"
    )
    return [name.removeprefix("bait_and_") for name in page.evaluate(names)]


def press(page: Page, title: str, key: str = "Enter") -> None:
    """Focus a column's title and press a key on it, as a user without a mouse does."""
    page.evaluate(
        "[...document.querySelectorAll('#pairs thead button')]"
        f".find(each => each.textContent === {title!r}).focus()"
    )
    for kind in ("keyDown", "keyUp"):
        event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": 13}
        page.send(
            "Input.dispatchKeyEvent", **event, **({"text": "\r"} if kind == "keyDown" else {})
        )


@pytest.mark.browser
def test_the_table_is_sorted_by_keyboard(page: Page) -> None:
    assert shown(page) == ["p9", "p10", "p2", "p3", "p4"], "the best ranking is first"
    for title, expected in (
        ("ipTM", ["p9", "p10", "p2", "p3", "p4"]),
        ("ipTM", ["p2", "p10", "p9", "p3", "p4"]),
        ("Pair", ["p2", "p3", "p4", "p9", "p10"]),
        ("Pair", ["p10", "p9", "p4", "p3", "p2"]),
        ("Interface PAE, Å", ["p9", "p2", "p10", "p4", "p3"]),
        ("Clash", ["p10", "p9", "p2", "p4", "p3"]),
        ("Residues", ["p4", "p3", "p10", "p9", "p2"]),
        ("State", ["p10", "p9", "p2", "p3", "p4"]),
    ):
        press(page, title)
        assert shown(page) == expected, title
        sorted_by = "[...document.querySelectorAll('[aria-sort]')].map(each => each.textContent)"
        assert page.evaluate(sorted_by) == [title]
    assert (
        page.evaluate("document.querySelector('#status').textContent")
        == "Sorted by State, ascending."
    )


@pytest.mark.browser
def test_pairs_are_found_by_name_and_state(page: Page) -> None:
    find = """(text => {
      const input = document.querySelector("#search input");
      input.value = text;
      input.dispatchEvent(new Event("input"));
    })"""
    page.evaluate(f"{find}('p1')")
    assert shown(page) == ["p10"]
    page.evaluate(f"{find}(' FAILED ')")
    assert shown(page) == ["p3"]
    page.evaluate(f"{find}('')")
    assert len(shown(page)) == 5


@pytest.mark.browser
def test_a_wide_window_shows_every_column(page: Page) -> None:
    wide = page.evaluate("innerWidth") > 1000
    state = "document.querySelector('#pairs thead th:last-child').getBoundingClientRect().right"
    assert page.evaluate(f"{state} <= innerWidth") == wide


@pytest.mark.browser
def test_the_page_fits_and_makes_no_request(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    first = "document.querySelector('#pairs tbody th').getBoundingClientRect().left"
    before = page.evaluate(first)
    page.evaluate("document.querySelector('.wide').scrollLeft = 500")
    assert page.evaluate(first) == before, "the names stay in sight"
    assert [url for url in page.requests if not url.startswith("data:")][1:] == []
    assert page.errors == []
