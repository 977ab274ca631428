"""The report: the content of its page, and its display in a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
import re
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.formats.a3m import parse_a3m
from foldry.query import Chain, Hit, Query
from foldry.relax.result import Relaxation
from foldry.residues import CA
from foldry.results import report
from foldry.results.chain_confidence import chain_confidence
from foldry.results.coverage import identity_map
from foldry.results.folder import write_query
from foldry.results.prediction import Prediction
from foldry.results.render import modelcif_text
from foldry.results.report import quantise, report_html, viewer_js
from tests.browser import Page
from tests.conftest import ROOT
from tests.predict.fake import fake_complex, fake_prediction

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'too'"
NOTICE = "Made with a small model <b>only</b>: run `foldry <i>` first."
VENDOR = files("foldry") / "results" / "viewer"


def page(predictions: list[Prediction], viewer: str | None = None) -> str:
    chains = [chain_confidence(each) for each in predictions]
    return report_html(predictions, [modelcif_text(each) for each in predictions], chains, viewer)


def renamed(prediction: Prediction, name: str) -> Prediction:
    """Return the prediction with a query name that queries cannot have."""
    object.__setattr__(prediction.query, "name", name)
    return prediction


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def embedded(text: str) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert match
    data: dict[str, object] = json.loads(match[1])
    return data


def test_names_are_only_text() -> None:
    calm = Elements(page([fake_prediction()]))
    prediction = renamed(fake_prediction(), EVIL)
    provenance = replace(prediction.provenance, notice=NOTICE, model_name=EVIL)
    evil = page([replace(prediction, provenance=provenance)])
    assert Elements(evil).tags == calm.tags
    assert embedded(evil)["name"] == EVIL


def policy(elements: Elements) -> dict[str, list[str]]:
    """Return the sources that a page's policy allows, by directive."""
    content = next(
        attributes["content"] or ""
        for _, attributes in elements.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    return {rule.split()[0]: rule.split()[1:] for rule in content.split(";")}


def source(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def test_the_policy_admits_these_scripts_and_no_request() -> None:
    elements = Elements(page([fake_prediction()]))
    rules = policy(elements)
    assert rules["default-src"] == ["'none'"]
    for kind in ("img-src", "connect-src"):
        assert set(rules[kind]) <= {"data:", "blob:"}
    viewer = gzip.decompress(base64.b64decode(elements.scripts[1]))
    assert viewer == viewer_js()
    own = source(elements.scripts[-1].encode())
    assert rules["script-src"] == [own, "'unsafe-eval'", source(viewer)]
    for tag, attributes in elements.tags:
        for name in ("src", "href"):
            value = attributes.get(name) or "data:"
            assert value.startswith("data:"), f"<{tag}> requests {value}"


def test_names_from_files_do_not_change_the_direction_of_the_page() -> None:
    evil = "\N{RIGHT-TO-LEFT OVERRIDE}evil"
    prediction = fake_prediction()
    hit = Hit(evil, np.array([[0, 0]]), prediction.structure)
    (chain,) = prediction.query.chains
    prediction = replace(
        prediction,
        query=replace(prediction.query, chains=(replace(chain, templates=(hit,)),)),
        provenance=replace(
            prediction.provenance, model_name=evil, weights=evil, templates_read={"A": [evil]}
        ),
    )
    models = [modelcif_text(prediction, None)]
    text = report_html([prediction], models, [None])
    match = re.search(r'id="data">(.*?)</script>', text)
    assert match
    shown = json.loads(match[1])
    assert shown["templates"] == {"A": [r"\u202eevil"]}
    made = shown["predictions"][0]["provenance"]
    assert made["model_name"] == made["weights"] == r"\u202eevil"
    assert made["templates_read"] == {"A": [r"\u202eevil"]}


@pytest.mark.parametrize(
    ("model_name", "licence", "said", "not_said"),
    [
        ("mini", "not stated", "their own licence (not stated)", "CC BY"),
        ("model_1_ptm", "MIT\N{RIGHT-TO-LEFT OVERRIDE}", r"own licence (MIT\u202e)", "CC BY"),
        ("model_1_ptm", "", "available under CC BY 4.0", "Evans"),
        ("model_1_multimer_v3", "", "Evans et al. 2021", "own licence"),
    ],
)
def test_the_report_states_the_licence_of_the_modelcif_file(
    model_name: str, licence: str, said: str, not_said: str
) -> None:
    prediction = fake_prediction(model_name=model_name)
    provenance = replace(prediction.provenance, licence=licence)
    text = page([replace(prediction, provenance=provenance)])
    [shown] = embedded(text)["predictions"]  # type: ignore[misc]
    assert said in shown["terms"] and not_said not in shown["terms"]
    assert "CC BY" not in text[text.index("<footer>") : text.index("</footer>")]


def test_a_report_that_shares_the_viewer_is_small_and_admits_one_more_script() -> None:
    text = page([fake_prediction()], viewer="../../viewer.js")
    assert len(text) < 100_000
    rules = policy(Elements(text))
    viewer = embedded(text)["viewer"]
    assert isinstance(viewer, dict)
    assert viewer["address"] == "../../viewer.js"
    assert rules["script-src"][1:] == ["'unsafe-eval'", f"'nonce-{viewer['nonce']}'"]
    other = embedded(page([fake_prediction(seed=1)], viewer="../../viewer.js"))["viewer"]
    assert other != viewer, "the nonce of one page is not valid in another"


def test_the_viewer_matches_its_checksums() -> None:
    assert (VENDOR / "SHA256SUMS").read_text().split() == [
        hashlib.sha256(viewer_js()).hexdigest(),
        "viewer.js",
    ]
    licence = (VENDOR / "LICENSE").read_bytes()
    assert b"MIT" in licence
    assert licence in viewer_js()[:2000]
    assert (VENDOR / "VERSION").read_text() == "molstar 5.11.0\n"


def test_more_predictions_than_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_SHOWN", 2)
    data = embedded(page([fake_prediction(seed=seed) for seed in range(3)]))
    assert ["model" in each for each in data["predictions"]] == [True, True, False]  # type: ignore[attr-defined]


def test_a_paired_alignment_is_an_alignment() -> None:
    prediction = fake_prediction()
    [chain] = prediction.query.chains
    paired = replace(chain, alignment=None, paired=chain.alignment)
    query = replace(prediction.query, chains=(paired,))
    text = modelcif_text(replace(prediction, query=query))
    assert "with an alignment of 28 sequences" in " ".join(text.split())
    assert '"coverage":{"depth":28,' in report_html(
        [replace(prediction, query=query)], [text], [None]
    )


def test_a_deep_alignment_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.results.coverage.MAX_COVERAGE_ROWS", 5)
    prediction = fake_prediction()
    coverage = embedded(page([prediction]))["coverage"]
    assert isinstance(coverage, dict)
    assert (coverage["depth"], coverage["rows"]) == (28, 5)
    cells = np.frombuffer(gzip.decompress(base64.b64decode(coverage["cells"])), np.uint8)
    assert (cells.reshape(5, 63)[0] == 255).all(), "the query is kept, and identical to itself"
    alignment = prediction.query.chains[0].alignment
    assert alignment is not None
    columns = zip(*alignment.sequences, strict=True)
    assert coverage["perResidue"] == [28 - column.count("-") for column in columns]


def test_the_most_reliable_contacts_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_CONTACTS", 5)
    prediction = fake_complex()
    assert prediction.pae is not None
    judged = embedded(page([prediction]))["predictions"][0]["judged"]  # type: ignore[index]
    assert judged["total"] == 126
    ca = prediction.structure.atom_positions[:, CA]
    errors = []
    for one, other, distance, error in judged["contacts"]:
        assert prediction.structure.chain_id[[one, other]].tolist() == ["A", "B"]
        assert distance <= 8
        assert abs(np.linalg.norm(ca[one] - ca[other]) - distance) < 4, "these residues are near"
        mean = (prediction.pae[one, other] + prediction.pae[other, one]) / 2
        assert error == pytest.approx(mean, abs=0.006)
        errors.append(error)
    assert len(errors) == 5
    assert errors == sorted(errors)


def test_a_single_chain_has_no_interfaces() -> None:
    data = embedded(page([fake_prediction(), fake_prediction(pae=False)]))["predictions"]
    assert data[0]["judged"] is None  # type: ignore[index]
    assert "judged" not in data[1]  # type: ignore[index]
    assert [each["relaxation"] for each in data] == [None, None]  # type: ignore[attr-defined]


@settings(deadline=None)
@given(
    st.text("ACDX", min_size=4, max_size=4),
    st.lists(st.text("ACDX-", min_size=4, max_size=4), max_size=6),
)
def test_identity_map(query: str, others: list[str]) -> None:
    rows = []
    for row in [query, *others]:
        aligned = [letter for letter in row if letter != "-"]
        equal = sum(a == b for a, b in zip(query, row, strict=True) if b != "-")
        shade = round(1 + 254 * (equal / len(aligned) if aligned else 0))
        rows.append((-equal / max(len(aligned), 1), [0 if a == "-" else shade for a in row]))
    expected = [row for _, row in sorted(rows, key=lambda each: each[0])]
    letters = np.array([[ord(a) for a in row] for row in [query, *others]], np.uint8)
    assert identity_map(query, [letters[:1], letters[1:]]).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.floats(0, 31.75), min_size=1, max_size=9))
def test_quantised_errors_are_near(values: list[float]) -> None:
    array = np.array(values)
    np.testing.assert_allclose(quantise(array, 31.75) / 255 * 31.75, array, atol=0.0623)


@pytest.fixture(scope="module")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    write_query([fake_prediction(seed=seed) for seed in (0, 1)], folder)
    return folder / "report.html"


@pytest.fixture(scope="module", params=[1440, 390])
def wide(request: pytest.FixtureRequest, full_page: Path) -> Iterator[Page]:
    """The full report at one width, loaded once for all tests of that width."""
    with Page(request.param, 900) as opened:
        opened.open(full_page, "document.body?.dataset.ready === 'true'")
        yield opened


def assert_silent(opened: Page, page: Path) -> None:
    asked = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
    assert asked == [page.as_uri()]
    assert opened.errors == []


COLOURS_SHOWN = """(async () => {
  const { canvas, width, height } = await viewer.plugin.helpers.viewportScreenshot.getPreview(320);
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const near = { blue: 0, cyan: 0, yellow: 0, orange: 0 };
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    if (data[i + 3] < 128) continue;
    if (b > 150 && r < 60 && g < 130) near.blue++;
    else if (b > 180 && g > 140 && r < 150) near.cyan++;
    else if (r > 200 && g > 170 && b < 90) near.yellow++;
    else if (r > 200 && g > 80 && g < 160 && b < 120) near.orange++;
  }
  return near;
})()"""


@pytest.mark.browser
def test_the_structure_is_shown_in_the_colours_of_plddt(wide: Page) -> None:
    residues = (
        "viewer.plugin.managers.structure.hierarchy.current.structures"
        ".map(each => each.cell.obj.data.polymerResidueCount)"
    )
    assert wide.evaluate(residues) == [63]
    shown = wide.evaluate(COLOURS_SHOWN)
    assert all(pixels > 50 for pixels in shown.values()), shown


@pytest.mark.browser
def test_the_page_fits_and_shows_every_figure(wide: Page) -> None:
    assert wide.evaluate("document.documentElement.scrollWidth <= innerWidth")
    drawn = "document.querySelectorAll('#pae svg, #plddt svg, #coverage svg').length"
    assert wide.evaluate(drawn) == 3
    unnamed = "document.querySelectorAll('[role=img]:not([aria-label])').length"
    assert wide.evaluate(unnamed) == 0


@pytest.mark.browser
def test_pointing_at_a_plot_reads_its_values(wide: Page) -> None:
    expected = fake_prediction().plddt
    box = wide.evaluate("""(() => {
      document.querySelector("#plddt").scrollIntoView();
      const box = document.querySelector("#plddt .axis[width]").getBoundingClientRect();
      return [box.left, box.top, box.width, box.height];
    })()""")
    x = box[0] + box[2] * 20.5 / 63
    wide.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=box[1] + box[3] / 2)
    text = wide.evaluate("document.querySelector('#plddt .readout').textContent")
    assert f"21: pLDDT {expected[20]:.1f}, very high" in text
    marked = "viewer.plugin.managers.interactivity.lociHighlights.prev.length"
    assert wide.evaluate(marked) == 1, "the residue is marked in the structure"
    assert texts(wide, "#coverage .readout")[0].startswith(text[: text.index(":")])
    cursors = "[...document.querySelectorAll('.cursor')].map(each => each.hasAttribute('d'))"
    assert wide.evaluate(cursors) == [True] * 3, "the residue is marked in every plot"
    wide.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + 8, y=box[1] + box[3] / 2)
    assert wide.evaluate(marked) == 1, "no other residue stays marked"
    wide.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert wide.evaluate(marked) == 0
    assert wide.evaluate(cursors) == [False] * 3


@pytest.mark.browser
def test_another_prediction_can_be_shown(wide: Page) -> None:
    wide.evaluate("document.querySelector('#ranking button').click()")
    wide.evaluate("(async () => { await work; })()")
    seed = "document.querySelector('tr[aria-current]').cells[2].textContent"
    assert wide.evaluate(seed) == "1"
    assert wide.evaluate("shown.provenance.seed") == 1


@pytest.mark.browser
def test_the_console_and_the_network_stay_silent(wide: Page, full_page: Path) -> None:
    assert_silent(wide, full_page)


@pytest.mark.browser
def test_many_templates_are_counted_and_named_in_their_table_alone(tmp_path: Path) -> None:
    prediction = fake_prediction()
    (chain,) = prediction.query.chains
    names = [f"{number}abc_A" for number in range(1, 6)]
    hits = tuple(Hit(name, np.array([[0, 0]]), prediction.structure) for name in names)
    query = replace(prediction.query, chains=(replace(chain, templates=hits),))
    read = replace(prediction.provenance, templates_read={"A": names[1:3]})
    write_query([replace(prediction, query=query, provenance=read)], tmp_path)
    with Page(390, 844) as opened:
        opened.open(tmp_path / "report.html", "document.body?.dataset.ready === 'true'")
        facts = dict(zip(texts(opened, "#facts dt"), texts(opened, "#facts dd"), strict=True))
        assert facts["Templates"] == "5"
        assert facts["Templates that the model read"] == "2abc_A, 3abc_A"
        assert texts(opened, "#templates td:nth-child(2)") == [f"{n}abc" for n in range(1, 6)]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("number", "says"), [(0, "it reads no templates"), (1, "their E-values are so high that")]
)
def test_the_report_says_why_no_template_was_read(number: int, says: str, tmp_path: Path) -> None:
    prediction = fake_prediction()
    (chain,) = prediction.query.chains
    hit = Hit("1abc_A", np.array([[0, 0]]), prediction.structure)
    query = replace(prediction.query, chains=(replace(chain, templates=(hit,)),))
    config = {"features": {"num_templates": number}}
    read = replace(prediction.provenance, templates_read={}, config=config)
    write_query([replace(prediction, query=query, provenance=read)], tmp_path)
    with Page(390, 844) as opened:
        opened.open(tmp_path / "report.html", "document.body?.dataset.ready === 'true'")
        facts = dict(zip(texts(opened, "#facts dt"), texts(opened, "#facts dd"), strict=True))
        assert facts["Templates that the model read"].startswith(f"none: {says}")


@pytest.mark.browser
def test_a_page_without_pae_and_alignment_with_an_evil_name(tmp_path: Path) -> None:
    prediction = fake_prediction(model_name="mini", pae=False, alignment=False)
    prediction = renamed(prediction, EVIL)
    provenance = replace(prediction.provenance, notice=NOTICE)
    write_query([replace(prediction, provenance=provenance)], tmp_path)
    with Page(390, 844) as opened:
        opened.open(tmp_path / "report.html", "document.body?.dataset.ready === 'true'")
        assert opened.evaluate("document.querySelector('h1').textContent") == EVIL
        assert texts(opened, "#notice") == [NOTICE.replace("`", "")]
        assert texts(opened, "#notice code") == ["foldry <i>"]
        assert "CC BY 4.0" in texts(opened, "#terms")[0]
        assert opened.evaluate("document.querySelector('#pae-panel').hidden")
        text = opened.evaluate("document.querySelector('#coverage').textContent")
        assert "from a single sequence" in text
        assert opened.evaluate("document.querySelectorAll('img[src=x]').length") == 0
        assert opened.errors == []
        assert all(url.startswith(("data:", "blob:", tmp_path.as_uri())) for url in opened.requests)
        refused = "fetch('http://127.0.0.1:9/').then(() => 'asked', () => 'refused')"
        assert opened.evaluate(refused) == "refused"
        assert "Content Security Policy" in opened.errors[0]


@pytest.mark.browser
def test_reports_share_the_file_of_the_viewer(tmp_path: Path) -> None:
    folder = tmp_path / "a screen" / "pairs" / "1"
    folder.mkdir(parents=True)
    report = folder / "report.html"
    report.write_text(page([fake_prediction()], viewer="../../viewer.js"), "utf-8")
    viewer = tmp_path / "a screen" / "viewer.js"
    viewer.write_bytes(viewer_js())
    with Page(800, 600) as opened:
        opened.open(report, "document.body?.dataset.ready === 'true'")
        asked = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
        assert asked == [report.as_uri(), viewer.as_uri()]
        assert opened.errors == []
        assert all(pixels > 50 for pixels in opened.evaluate(COLOURS_SHOWN).values())
        other = """new Promise(resolve => {
          const script = document.createElement("script");
          script.src = "../../viewer.js";
          script.onerror = () => resolve("refused");
          script.onload = () => resolve("loaded");
          document.head.append(script);
        })"""
        assert opened.evaluate(other) == "refused", "the policy admits one element, not an address"


@pytest.mark.browser
def test_a_report_whose_viewer_is_missing_says_so(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text(page([fake_prediction()], viewer="../../viewer.js"), "utf-8")
    with Page(390, 844) as opened:
        plots = "document.querySelectorAll('#pae svg, #plddt svg').length === 2"
        opened.open(report, f"document.body?.dataset.ready === 'true' && {plots}")
        assert texts(opened, "#structure .viewport") == [
            "The structure cannot be shown here: the viewer's file ../../viewer.js is missing. "
            "Open its ModelCIF file in any molecular viewer."
        ]
        assert opened.evaluate("document.querySelector('#save').href").startswith("blob:")
        assert all("ERR_FILE_NOT_FOUND" in error for error in opened.errors)


LATE = "The time limit was reached: raise `relax_seconds`."
RELAXED = Relaxation(True, LATE, "CPU", 2, 41.3, 1.23e7, -24512.3, 37, 0, 61, 3, 0.12, 1.9)
FAILED = Relaxation(False, "Residue A 7 is unknown.", seconds=0.2)


@pytest.fixture(scope="module")
def complex_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("complex")
    best, other = (fake_complex(seed=seed) for seed in (0, 1))
    shifted = other.structure.atom_positions.copy()
    shifted[313:] += (shifted[:313, CA] - shifted[313:, CA]).mean(axis=0)
    other = replace(
        other, structure=replace(other.structure, atom_positions=shifted), relaxation=FAILED
    )
    write_query([replace(best, relaxation=RELAXED), other], folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def shown_complex(complex_page: Path) -> Iterator[Page]:
    """The report of a complex at the width of a phone: the smallest view is the fastest."""
    with Page(390, 900) as opened:
        opened.open(complex_page, "document.body?.dataset.ready === 'true'")
        yield opened


def texts(opened: Page, selector: str) -> list[str]:
    query = f"[...document.querySelectorAll({selector!r})].map(each => each.textContent)"
    found: list[str] = opened.evaluate(query)
    return found


def wait_for_the_structure(opened: Page) -> None:
    until = time.monotonic() + 60
    while opened.evaluate("document.querySelector('[aria-busy=true]') !== null"):
        assert time.monotonic() < until
        time.sleep(0.1)


def assert_chains_are_shown(opened: Page) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "626 in 2 chains" in texts(opened, "#facts dd")
    for plot in ("pae", "plddt", "coverage"):
        assert texts(opened, f"#{plot} .chain") == ["A", "B"]
    borders = "document.querySelectorAll('#pae .border').length"
    assert opened.evaluate(borders) == 2
    header, row = texts(opened, "#interfaces th"), texts(opened, "#interfaces td")
    shown = dict(zip(header, row, strict=True))
    assert shown["Chains"] == "A – B"
    assert (shown["ipTM"], shown["actifpTM"], shown["Contacts"]) == ("0.88", "0.94", "126")
    assert shown["Interface PAE, Å"] == "4.3"
    names = texts(opened, "#interfaces dt")
    assert names == [each.removesuffix(", Å") for each in header[1:]]
    assert all(texts(opened, "#interfaces dd"))
    assert texts(opened, "#chains td:first-child") == ["A", "B"]
    assert texts(opened, "#provenance dd")[-1] == "20 November 2025, 12:00 UTC"
    assert texts(opened, "#interfaces .about") == ["No chain clashes with another."]
    about = "at most 1.90 Å. The time limit was reached: raise relax_seconds."
    assert texts(opened, "#relaxation-about")[0].endswith(about)
    assert texts(opened, "#relaxation tbody tr:first-child td")[1:] == [
        "1.2 × 10⁷",
        "-24,512",
    ]


@pytest.mark.slow
@pytest.mark.browser
def test_a_complex_fits_a_wide_window(complex_page: Path) -> None:
    with Page(1440, 900) as opened:
        opened.open(complex_page, "document.body?.dataset.ready === 'true'")
        assert_chains_are_shown(opened)
        assert_silent(opened, complex_page)


@pytest.mark.slow
@pytest.mark.browser
def test_a_complex_is_shown_with_its_chains(shown_complex: Page) -> None:
    assert_chains_are_shown(shown_complex)


@pytest.mark.slow
@pytest.mark.browser
def test_the_structure_can_be_coloured_by_chain(shown_complex: Page) -> None:
    themes = (
        "viewer.plugin.managers.structure.hierarchy.current.structures[0].components"
        ".flatMap(each => each.representations.map(one => one.cell.obj.data.repr.theme.color))"
    )
    legend = "[...document.querySelectorAll('.legend span')].map(each => each.style.background)"
    for chain in ("chain", "plddt"):
        press = f"document.querySelector('#coloring [value={chain}]')"
        shown_complex.evaluate(f"{press}.click()")
        wait_for_the_structure(shown_complex)
        assert shown_complex.evaluate(f"{press}.getAttribute('aria-pressed')") == "true"
        table = shown_complex.evaluate(f"{themes}[0].legend.table ?? []")
        if chain == "chain":
            numbers = dict(table)
            expected = [f"rgb({n >> 16}, {n >> 8 & 255}, {n & 255})" for n in numbers.values()]
            assert list(numbers) == ["A", "B"]
            assert shown_complex.evaluate(legend) == expected
            assert texts(shown_complex, ".legend li") == ["Chain A", "Chain B"]
    assert len(shown_complex.evaluate(legend)) == 4


@pytest.mark.slow
@pytest.mark.browser
def test_a_contact_is_shown_in_the_structure(shown_complex: Page) -> None:
    text = texts(shown_complex, "#contacts button")
    assert len(text) == 126
    shown_complex.evaluate("document.querySelector('#contacts button').click()")
    assert text[0] == "A P15 – B P15"
    marked = "viewer.plugin.managers.structure.selection.elementCount()"
    assert shown_complex.evaluate(marked) == 14, "two prolines of seven atoms"


@pytest.mark.slow
@pytest.mark.browser
def test_a_clash_and_a_failed_relaxation_are_shown(shown_complex: Page) -> None:
    shown_complex.evaluate("document.querySelector('#ranking button').click()")
    assert texts(shown_complex, "#interfaces .warning") == [
        "Clash: too many atoms of chains A, B are less than 1.1 Å from other chains."
    ]
    [said] = texts(shown_complex, "#relaxation-about")
    assert said == "Not relaxed. Residue A 7 is unknown. The structure is the network's prediction."
    assert shown_complex.evaluate("document.querySelector('#relaxation').hidden")


@pytest.mark.slow
@pytest.mark.browser
def test_a_complex_makes_no_request_and_reports_no_error(
    shown_complex: Page, complex_page: Path
) -> None:
    assert_silent(shown_complex, complex_page)


def test_the_page_knows_every_copy_of_a_chain() -> None:
    prediction = fake_complex()
    [chain] = prediction.query.chains
    chains = embedded(page([prediction]))["chains"]
    assert chains == [{"id": name, "sequence": chain.sequence} for name in ("A", "B")]


def test_the_coverage_is_as_deep_as_the_deepest_alignment() -> None:
    deep = parse_a3m(">q\nMKV\n>a\nMKI\n")
    chains = (Chain(("A",), "MKV", deep), Chain(("B",), "GG"))
    coverage = report._coverage(Query("q", chains))
    assert coverage is not None
    assert (coverage["depth"], coverage["perResidue"]) == (2, [2, 2, 2, 0, 0])


def test_the_docs_name_the_bound_of_contacts() -> None:
    docs = (ROOT / "docs" / "outputs.md").read_text("utf-8")
    bound = rf"\b{report.MAX_CONTACTS}\b"
    assert re.search(rf"{bound}[^.]* contacts|contacts[^.]*{bound}", docs)


def vendored() -> ModuleType:
    """Return the script of `make vendor` as a module."""
    spec = importlib.util.spec_from_file_location("fetch", VENDOR / "fetch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fault", ["its sum", "a file"])
def test_a_viewer_that_is_not_the_publisher_s_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    fetch = vendored()

    def pack(command: list[str], *, cwd: Path, **_: object) -> None:
        with tarfile.open(cwd / f"molstar-{fetch.VERSION}.tgz", "w:gz") as archive:
            member = tarfile.TarInfo("package/LICENSE")
            member.type = tarfile.DIRTYPE
            archive.addfile(member)

    monkeypatch.setattr(fetch.subprocess, "run", pack)
    if fault == "a file":
        monkeypatch.setattr(fetch, "file_digest", lambda *_: base64.b64decode(fetch.INTEGRITY))
    says = "SHA-512 of its publisher" if fault == "its sum" else "has no file package/LICENSE"
    with pytest.raises(ValueError, match=says):
        fetch.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_alone_has_no_coverage() -> None:
    assert report._coverage(Query("q", (Chain(("A",), "MKV", parse_a3m(">q\nMKV\n")),))) is None
    assert report._coverage(Query("q", (Chain(("A",), "MKV"),))) is None
