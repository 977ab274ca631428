"""The report: one page that shows all predictions of a query in any browser.

The page consists of report.html, report.css and report.js; components.js draws its figures and
tables, and embedded.js reads its data. The page contains all data, compressed if large, and the 3D
viewer, Mol*, unless several reports share the viewer's file.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from foldry.errors import printable
from foldry.formats.modelcif_history import CC_BY, usage_terms
from foldry.measures import MEASURES, rounded
from foldry.query import Query
from foldry.results.chain_confidence import ChainConfidence
from foldry.results.coverage import coverage, identity_map
from foldry.results.embedded import base64_text, packed, script_json
from foldry.results.page import page_html, resource, script_source
from foldry.results.prediction import Prediction
from foldry.results.render import template_names
from foldry.results.templates import tables
from foldry.store.hashes import sha256

MAX_SHOWN: Final = 10
"""Maximum number of predictions that the page shows; it lists all of them."""
MAX_CONTACTS: Final = 200
"""Maximum number of contacts between chains that the page lists, lowest aligned error first."""
_FOREIGN: Final = ("model_name", "weights", "licence")
"""Fields of the provenance that a file of parameters names."""

_VIEWER: Final = files("foldry") / "results" / "viewer"


def report_html(
    predictions: Sequence[Prediction],
    models: Sequence[str],
    chains: Sequence[ChainConfidence | None],
    viewer: str | None = None,
) -> str:
    """Return the HTML of the report.

    Args:
        predictions: All predictions of one query, best first.
        models: The ModelCIF text of each prediction.
        chains: The `chain_confidence` of each prediction.
        viewer: Path of a file with the content of `viewer_js`, relative to the page; None puts the
            viewer into the page.
    """
    query = predictions[0].query
    data: dict[str, object] = {
        "name": query.name,
        "chains": [
            {"id": name, "sequence": chain.sequence} for chain in query.chains for name in chain.ids
        ],
        "coverage": _coverage(query),
        "templates": _printable(template_names(query)),
        "templateTables": tables(query),
        "predictions": [
            _prediction(*each, is_shown=rank < MAX_SHOWN)
            for rank, each in enumerate(zip(predictions, models, chains, strict=True))
        ],
    }
    if viewer is None:
        source = _viewer_source()
    else:
        # The nonce is a hash of the data, so that no text in the data can contain it.
        nonce = sha256(script_json(data).encode())
        source = f"'nonce-{nonce}'"
        data["viewer"] = {"address": viewer, "nonce": nonce}
    body = Template(resource("report.html")).substitute(
        data=script_json(data),
        viewer="" if viewer else _viewer_base64(),
        viewer_version=(_VIEWER / "VERSION").read_text("utf-8").split()[1],
    )
    return page_html(
        query.name,
        body,
        styles=["components.css", "report.css"],
        scripts=["components.js", "embedded.js", "report.js"],
        policy={
            "script-src": f"'unsafe-eval' {source}",
            "img-src": "data: blob:",
            "connect-src": "data:",
        },
    )


def viewer_js() -> bytes:
    """Return the 3D viewer that several reports may share: Mol*, its style and its licence."""
    return gzip.decompress(_packed_viewer())


@cache
def _viewer_source() -> str:
    return script_source(viewer_js())


@cache
def _viewer_base64() -> str:
    return base64_text(_packed_viewer())


def _packed_viewer() -> bytes:
    return (_VIEWER / "viewer.js.gz").read_bytes()


def _prediction(
    prediction: Prediction, model: str, chains: ChainConfidence | None, *, is_shown: bool
) -> dict[str, object]:
    provenance = asdict(prediction.provenance)
    read = provenance["templates_read"]
    found: dict[str, object] = {
        "scores": [
            {**asdict(MEASURES[key]), "value": getattr(prediction, key)}
            for key in ("mean_plddt", "ptm", "iptm")
        ],
        "provenance": {
            **provenance,
            **{key: printable(provenance[key]) for key in _FOREIGN},
            "templates_read": read and _printable(read),
        },
        "terms": printable(
            usage_terms(
                provenance["model_name"],
                provenance["licence"] or CC_BY,
                provenance["versions"],
            )
        ),
    }
    if not is_shown:
        return found
    found["plddt"] = [round(float(value), 1) for value in prediction.plddt]
    found["model"] = packed(model.encode())
    found["relaxation"] = prediction.relaxation and asdict(prediction.relaxation)
    pae, top = prediction.pae, prediction.max_pae
    if pae is not None and top is not None:
        found["maxPae"] = top
        found["pae"] = packed(quantise(pae, top).tobytes())
        found["judged"] = chains and _judged(chains, pae)
    return found


def _printable(names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the names of templates by chain, with invisible letters as escapes."""
    return {chain: list(map(printable, each)) for chain, each in names.items()}


def _judged(chains: ChainConfidence, pae: Float[np.ndarray, "N N"]) -> dict[str, object]:
    """Return the measures of chains and pairs, and the contacts with the lowest errors."""
    first, second = chains.contacts.first, chains.contacts.second
    distance, error = chains.contacts.distance, (pae[first, second] + pae[second, first]) / 2
    pairs = chains.pairs()
    return {
        "clashing": np.flatnonzero(chains.clashing).tolist(),
        "pairs": pairs,
        "ofPairs": [
            {**asdict(each.measure), "values": [each.of(*pair) for pair in pairs]}
            for each in chains.of_pairs
        ],
        "ofChains": [
            {**asdict(each.measure), "values": list(map(rounded, each.values.tolist()))}
            for each in chains.of_chains
        ],
        "total": len(error),
        "contacts": [
            [int(first[k]), int(second[k]), round(float(distance[k]), 2), round(float(error[k]), 2)]
            for k in np.argsort(error, kind="stable")[:MAX_CONTACTS]
        ],
    }


def quantise(values: np.ndarray, top: float) -> UInt8[np.ndarray, "*shape"]:
    """Return values from 0 to `top` as bytes from 0 to 255."""
    return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)


def _coverage(query: Query) -> dict[str, object] | None:
    """Return the alignment as an image, chains side by side; None for a single sequence."""
    return coverage(
        [
            identity_map(chain.sequence, [each.letters for each in chain.alignments])
            for chain in query.chains
            for _ in chain.ids
        ]
    )
