"""The components in a server's page: loaded by URL, with data by URL, under a strict policy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from foldry.formats.afdb import confidence_json, pae_json
from foldry.results.chain_confidence import chain_confidence
from foldry.results.page import resource
from foldry.results.prediction import Prediction
from foldry.results.render import modelcif_text
from foldry.results.report import viewer_js
from tests.browser import Page
from tests.predict.fake import fake_complex
from tests.results.test_report import COLOURS_SHOWN, texts

HOST = Path(__file__).parent / "host"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "json": "text/json"}
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self' data:; base-uri 'none'; form-action 'none'"
)
HINT = "Point at the plot to read its values."
READY = "document.body?.dataset.ready === 'true'"


def entry_json(prediction: Prediction) -> str:
    """Return a server's data about an entry, apart from files as in the AlphaFold database."""
    chains = chain_confidence(prediction)
    assert chains is not None
    [chain] = prediction.query.chains
    assert chain.alignment is not None
    here = chain.alignment.letters != ord("-")
    cells = np.where(np.hstack([here, here]), 255, 0)
    pairs = chains.pairs()
    contacts = zip(
        chains.contacts.first.tolist(),
        chains.contacts.second.tolist(),
        chains.contacts.distance.tolist(),
        [1.0] * len(chains.contacts.first),
        strict=True,
    )
    return json.dumps(
        {
            "chains": [{"id": name, "sequence": chain.sequence} for name in chain.ids],
            "coverage": {
                "depth": len(cells),
                "rows": len(cells),
                "perResidue": (cells > 0).sum(axis=0).tolist(),
                "cells": cells.tolist(),
            },
            "judged": {
                "clashing": [],
                "pairs": pairs,
                "total": len(chains.contacts.first),
                "contacts": list(contacts),
                "ofPairs": [
                    {**asdict(each.measure), "values": [each.of(*pair) for pair in pairs]}
                    for each in chains.of_pairs
                ],
                "ofChains": [
                    {**asdict(each.measure), "values": each.values.tolist()}
                    for each in chains.of_chains
                ],
            },
        }
    )


@contextmanager
def served(files: dict[str, bytes]) -> Iterator[str]:
    """Yield the address of a server of these files, by their paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Content-Type", TYPES.get(self.path.rpartition(".")[2], "text/plain"))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    prediction = fake_complex()
    assert prediction.pae is not None
    assert prediction.max_pae is not None
    texts = {
        **{f"/{path.name}": path.read_text() for path in HOST.iterdir()},
        **{f"/{name}": resource(name) for name in ("components.js", "components.css")},
        "/data/entry.json": entry_json(prediction),
        "/data/confidence.json": confidence_json(prediction.plddt),
        "/data/pae.json": pae_json(prediction.pae, prediction.max_pae),
        "/data/model.cif": modelcif_text(prediction),
    }
    files = {name: text.encode() for name, text in texts.items()}
    with served({**files, "/viewer.js": viewer_js()}) as found:
        yield found


@pytest.fixture(scope="module", params=[1440, 390])
def opened(request: pytest.FixtureRequest, address: str) -> Iterator[Page]:
    with Page(request.param, 900) as page:
        page.open(f"{address}/index.html", READY)
        yield page


@pytest.mark.slow
@pytest.mark.browser
def test_every_component_shows_the_fetched_data(opened: Page) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    places = texts(opened, "[data-component]")
    assert all(places), "every place is filled"
    assert opened.evaluate("document.querySelectorAll('.chart svg').length") == 3
    assert opened.evaluate("document.querySelectorAll('[role=img]:not([aria-label])').length") == 0
    ids = "[...document.querySelectorAll('[id]')].filter(each => !each.closest('.viewport')).length"
    assert opened.evaluate(ids) == 0, "the components need no id and make none"
    assert texts(opened, "[data-component=interfaceTable] td")[0] == "A – B"
    assert texts(opened, "[data-component=chainTable] td:first-child") == ["A", "B"]
    assert all(pixels > 10 for pixels in opened.evaluate(COLOURS_SHOWN).values())


@pytest.mark.slow
@pytest.mark.browser
def test_the_components_share_one_selection(opened: Page) -> None:
    opened.evaluate("selection.point(400, 20)")
    name = texts(opened, "[data-component=plddtTrack] .readout")[0].split(":")[0]
    assert name.startswith("B ")
    assert texts(opened, "[data-component=coveragePlot] .readout")[0].startswith(f"{name}:")
    [read] = texts(opened, "[data-component=paePlot] .readout")
    assert f", {name} is expected to be off by" in read
    marked = "viewer.plugin.managers.interactivity.lociHighlights.prev.length"
    assert opened.evaluate(marked) == 1
    opened.evaluate("selection.point(null)")
    assert set(texts(opened, ".readout")) == {HINT}
    assert opened.evaluate(marked) == 0
    opened.evaluate("document.querySelector('[data-component=contactTable] button').click()")
    assert opened.evaluate("selection.selected.length") == 2
    assert opened.evaluate("viewer.plugin.managers.structure.selection.elementCount()") > 8


@pytest.mark.slow
@pytest.mark.browser
def test_pointing_at_the_structure_reads_the_plots(opened: Page) -> None:
    at_one = """(() => {
      const [{ cell }] = viewer.plugin.managers.structure.hierarchy.current.structures;
      const { Loci } = molstar.lib.structure.StructureElement;
      return Loci.fromSchema(cell.obj.data, { label_asym_id: "B", label_seq_id: 15 });
    })()"""
    hover = (
        "viewer.plugin.behaviors.interaction.hover.next({{ current: {{ loci: {} }}, buttons: 0, "
        "modifiers: {{ shift: false, alt: false, control: false, meta: false }} }})"
    )
    opened.evaluate(hover.format(at_one))
    assert texts(opened, "[data-component=plddtTrack] .readout")[0].startswith("B P15: pLDDT")
    opened.evaluate(hover.format("{ kind: 'empty-loci' }"))
    assert set(texts(opened, ".readout")) == {HINT}


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_requests_only_its_server_and_obeys_its_policy(opened: Page, address: str) -> None:
    assert all(url.startswith((address, "data:")) for url in opened.requests)
    assert f"{address}/viewer.js" in opened.requests
    assert opened.errors == []
