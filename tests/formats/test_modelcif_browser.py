"""BinaryCIF in Mol*, in a browser: coloured by the pLDDT that the file lists for each residue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foldry.formats.modelcif import to_binarycif
from foldry.results.page import resource
from foldry.results.render import model_record
from foldry.results.report import viewer_js
from tests.browser import Page
from tests.predict.fake import fake_prediction
from tests.results.test_components import READY, served
from tests.results.test_report import COLOURS_SHOWN

PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A model</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/components.css"><script src="/components.js" defer></script>
<script src="/page.js" defer></script></head><body><div id="model"></div></body></html>"""
SCRIPT = b"""let viewer = null;
async function fill() {
  const model = new Uint8Array(await (await fetch("/model.bcif")).arrayBuffer());
  const chains = [{ id: "A", sequence: await (await fetch("/sequence.txt")).text() }];
  const data = { chains, name: "the model", model };
  viewer = await foldry.structureView(
    document.querySelector("#model"), data,
    { selection: new foldry.Selection(), viewer: () => foldry.loadViewer("/viewer.js") });
  document.body.dataset.ready = "true";
}
fill();"""


@pytest.mark.slow
@pytest.mark.browser
def test_molstar_colours_binarycif_by_plddt() -> None:
    record = model_record(fake_prediction())
    without = np.zeros_like(record.structure.b_factor)
    record = replace(record, structure=replace(record.structure, b_factor=without))
    files = {
        "/page.html": PAGE,
        "/page.js": SCRIPT,
        **{f"/{name}": resource(name).encode() for name in ("components.js", "components.css")},
        "/viewer.js": viewer_js(),
        "/model.bcif": to_binarycif(record),
        "/sequence.txt": record.structure.sequence.encode(),
    }
    with served(files) as address, Page(900, 700) as page:
        page.open(f"{address}/page.html", READY)
        shown = page.evaluate(COLOURS_SHOWN)
        assert all(pixels > 50 for pixels in shown.values()), shown
        assert page.errors == []
