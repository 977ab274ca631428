"""The picture of a report in README.md, taken by a headless Chromium.

    python benchmarks/report_picture.py [--query FILE] [--out docs/report.png]

Folds the query (default: trypsin) with mini and what is found in examples/database, opens the
report, and writes the top of the page.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import Page
from tests.conftest import ROOT

import foldry
from script import run_script

WIDTH, HEIGHT = 1240, 1180


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--query", type=Path, default=ROOT / "examples" / "trypsin" / "1trn.fasta")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "report.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Page(WIDTH, HEIGHT) as page:
        query = foldry.search_query(arguments.query, ROOT / "examples" / "database")
        foldry.fold(query, out=folder, weights="mini")
        [report] = Path(folder).glob("*/report.html")
        page.send("Emulation.setScrollbarsHidden", hidden=True)
        page.open(report, "document.body?.dataset.ready === 'true'")
        time.sleep(5)  # the 3D viewer draws its first frames
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
        answer = page.send("Page.captureScreenshot", clip=clip)
        arguments.out.write_bytes(base64.b64decode(answer["data"]))


if __name__ == "__main__":
    run_script(main)
