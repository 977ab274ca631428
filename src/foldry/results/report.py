"""One page that shows all predictions of a query and needs nothing but a browser.

The page, its style and its script are report.html, report.css and report.js; the 3D viewer is
Mol*. All data is in the page, gzipped where it is large.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from string import Template
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from foldry.measures import rounded
from foldry.query import Query
from foldry.results.chain_confidence import ChainConfidence
from foldry.results.page import hash_source, page_html, resource, script_source
from foldry.results.prediction import Prediction

MAX_SHOWN: Final = 10
"""Of more predictions than this, the page lists all and shows the best."""
MAX_CONTACTS: Final = 200
"""Of more contacts between chains, the page shows those of the lowest aligned error."""
MAX_COVERAGE_ROWS: Final = 400
"""Of a deeper alignment, the coverage plot shows this many rows, evenly spaced by identity."""

_VIEWER: Final = files("foldry") / "results" / "viewer"


def report_html(
    predictions: Sequence[Prediction],
    models: Sequence[str],
    chains: Sequence[ChainConfidence | None],
) -> str:
    """The page.

    Args:
        predictions: All predictions of one query, best first.
        models: Their ModelCIF texts.
        chains: What `chain_confidence` says of each.
    """
    script = resource("report.js")
    sums = (_VIEWER / "SHA256SUMS").read_text("utf-8").splitlines()
    viewer_hash = next(line.split()[0] for line in sums if line.endswith(" molstar.js"))
    sources = ("'unsafe-eval'", script_source(script), hash_source(bytes.fromhex(viewer_hash)))
    body = Template(resource("report.html")).substitute(
        script=script,
        viewer_script=_base64((_VIEWER / "molstar.js.gz").read_bytes()),
        viewer_style=_base64((_VIEWER / "molstar.css.gz").read_bytes()),
        viewer_version=(_VIEWER / "VERSION").read_text("utf-8").split()[1],
        data=_json(_data(predictions, models, chains)),
    )
    return page_html(
        predictions[0].query.name,
        body,
        styles=["report.css"],
        policy={
            "script-src": " ".join(sources),
            "img-src": "data: blob:",
            "connect-src": "data:",
        },
    )


def _data(
    predictions: Sequence[Prediction],
    models: Sequence[str],
    chains: Sequence[ChainConfidence | None],
) -> dict[str, object]:
    query = predictions[0].query
    return {
        "name": query.name,
        "chains": [
            {"id": chain_id, "sequence": chain.sequence}
            for chain in query.chains
            for chain_id in chain.ids
        ],
        "coverage": _coverage(query),
        "predictions": [
            _prediction(prediction, model if rank < MAX_SHOWN else None, judged)
            for rank, (prediction, model, judged) in enumerate(
                zip(predictions, models, chains, strict=True)
            )
        ],
    }


def _prediction(
    prediction: Prediction, model: str | None, chains: ChainConfidence | None
) -> dict[str, object]:
    scores: dict[str, object] = {
        "meanPlddt": float(prediction.plddt.mean()),
        "ptm": prediction.ptm,
        "iptm": prediction.iptm,
        "provenance": asdict(prediction.provenance),
    }
    if model is None:
        return scores
    scores["plddt"] = [round(float(value), 1) for value in prediction.plddt]
    scores["model"] = _packed(model.encode())
    scores["relaxation"] = prediction.relaxation and asdict(prediction.relaxation)
    if prediction.pae is not None and prediction.max_pae is not None:
        scores["maxPae"] = prediction.max_pae
        scores["pae"] = _packed(quantise(prediction.pae, prediction.max_pae).tobytes())
        scores["judged"] = chains and _judged(chains, prediction.pae)
    return scores


def _judged(chains: ChainConfidence, pae: Float[np.ndarray, "N N"]) -> dict[str, object]:
    """Measures of chains and pairs, and the contacts of the lowest error, the surest first."""
    contacts = chains.contacts
    error = (pae[contacts.first, contacts.second] + pae[contacts.second, contacts.first]) / 2
    surest = np.argsort(error, kind="stable")[:MAX_CONTACTS]
    pairs = chains.pairs()
    return {
        "clashing": np.flatnonzero(chains.clashing).tolist(),
        "pairs": pairs,
        "ofPairs": [
            {"name": each.name, "meaning": each.meaning, "values": [each.of(*at) for at in pairs]}
            for each in chains.of_pairs
        ],
        "ofChains": [
            {
                "name": each.name,
                "meaning": each.meaning,
                "values": [rounded(value) for value in each.values.tolist()],
            }
            for each in chains.of_chains
        ],
        "numContacts": len(error),
        "contacts": [
            [one, other, round(distance, 2), round(apart, 2)]
            for one, other, distance, apart in zip(
                contacts.first[surest].tolist(),
                contacts.second[surest].tolist(),
                contacts.distance[surest].tolist(),
                error[surest].tolist(),
                strict=True,
            )
        ],
    }


def quantise(values: np.ndarray, top: float) -> UInt8[np.ndarray, "*shape"]:
    """0 to `top` as 0 to 255."""
    return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)


def _coverage(query: Query) -> dict[str, object] | None:
    """The alignment as a picture, chains side by side; None for a sequence alone."""
    maps = [
        identity_map(chain.sequence, [row for each in chain.alignments for row in each.sequences])
        for chain in query.chains
        for _ in chain.ids
    ]
    depth = max(len(each) for each in maps)
    if depth < 2:
        return None
    blocks = [np.pad(each, ((0, depth - len(each)), (0, 0))) for each in maps]
    cells = np.concatenate(blocks, axis=1)
    picked = np.linspace(0, depth - 1, min(depth, MAX_COVERAGE_ROWS)).round().astype(int)
    return {
        "depth": depth,
        "perResidue": (cells > 0).sum(axis=0).tolist(),
        "rows": len(picked),
        "cells": _packed(cells[picked].tobytes()),
    }


def identity_map(query: str, rows: Sequence[str]) -> UInt8[np.ndarray, "S N"]:
    """0 where a row has a gap, else 1 + 254 x its identity to the query, most alike first.

    Identity counts the equal letters among the row's residues.
    """
    letters = np.frombuffer("".join(rows).encode("ascii"), np.uint8).reshape(len(rows), len(query))
    covered = letters != ord("-")
    equal = covered & (letters == np.frombuffer(query.encode("ascii"), np.uint8))
    identity = equal.sum(axis=1) / np.maximum(covered.sum(axis=1), 1)
    order = np.argsort(-identity, kind="stable")
    shade = np.rint(1 + 254 * identity).astype(np.uint8)
    return np.where(covered, shade[:, None], np.uint8(0))[order]


def _packed(data: bytes) -> str:
    return _base64(gzip.compress(data, mtime=0))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(value: object) -> str:
    """JSON that ends no script element, whatever is in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
