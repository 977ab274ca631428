"""The plot of lDDT-Cα along the sequence, an SVG in the colours of the AlphaFold Database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.assess.assess import Agreement
from foldry.assess.inputs import Model

BANDS: Final = ((0, "#FF7D45"), (50, "#FFDB13"), (70, "#65CBF3"), (90, "#0053D6"))
"""Lowest value (0–100) and colour of each band."""
_INK: Final = "#222"
_MISSING: Final = "#DCDCDC"
_WIDTH: Final = 480
"""Narrow enough for a telephone; larger screens scale it up."""
_MAX_WIDTH: Final = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 140, 52
_PANEL, _GAP = 150, 64
_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_MAX_TICKS: Final = 10
_TICK_ROOM: Final = 36
_LONGEST: Final = 20
"""Maximum length of a name."""


@dataclass(frozen=True)
class Track:
    """The data of one chain's panel.

    Attributes:
        name: Name of the chain.
        numbers: Residue numbers for the axis.
        lddt: lDDT-Cα, 0–1; NaN if there is no distance to judge.
        known: Residues that the model has.
        plddt: pLDDT, 0–100; NaN if unknown.
    """

    name: str
    numbers: np.ndarray
    lddt: Float[np.ndarray, " N"]
    known: np.ndarray
    plddt: Float[np.ndarray, " N"]


def plot(model: Model, agreement: Agreement) -> str:
    """Return an SVG with a panel for each chain of the reference."""
    names = model.structure.name, agreement.reference.name
    title = f"lDDT-Cα {agreement.scores.lddt_ca:.2f}"
    return to_svg(title, names, tracks(model, agreement))


def to_svg(title: str, names: tuple[str, str], tracks: list[Track]) -> str:
    """Return an SVG with a panel for each track: lDDT-Cα as bars, pLDDT, if known, as a line.

    Residues that the model lacks are grey.

    Args:
        title: The heading.
        names: Names of the model and the reference.
        tracks: The data of each panel.
    """
    height = _TOP + len(tracks) * (_PANEL + _GAP) - _GAP + _BOTTOM
    model, reference = map(_text, names)
    body = [
        f'<text x="{_LEFT}" y="28" font-size="19" font-weight="600">{_text(title)}</text>',
        f'<text x="{_LEFT}" y="52">{model} against {reference}</text>',
        *_legend(tracks),
    ]
    for index, track in enumerate(tracks):
        body += _panel(track, _TOP + index * (_PANEL + _GAP), len(tracks) > 1)
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    body.append(f'<text x="{middle:g}" y="{height - 8}" text-anchor="middle">residue</text>')
    lines = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" '
        f'style="display:block;margin:auto;width:100%;max-width:{_MAX_WIDTH}px;height:auto" '
        f'font-family="system-ui,sans-serif" font-size="15" fill="{_INK}">\n'
        f"<title>{_text(title)}: {model} against {reference}</title>\n"
        f'<rect width="100%" height="100%" fill="#FFF"/>\n{lines}\n</svg>\n'
    )


def tracks(model: Model, agreement: Agreement) -> list[Track]:
    """Return the track of each chain of the reference."""
    reference = agreement.reference
    known = np.zeros(len(reference), bool)
    plddt = np.full(len(reference), np.nan)
    here, there = agreement.scores.match.pairs.T
    known[there] = model.structure.atom_mask[here].any(axis=1)
    if model.plddt is not None:
        plddt[there] = model.plddt[here]
    lddt = agreement.scores.lddt_ca_per_residue
    return [
        Track(name, reference.residue_number[rows], lddt[rows], known[rows], plddt[rows])
        for name in reference.chains
        for rows in [reference.chain_id == name]
    ]


def _legend(tracks: list[Track]) -> Iterator[str]:
    """Yield the legend of the colours and the line."""
    yield f'<text x="{_LEFT}" y="80">lDDT-Cα × 100</text>'
    for index, (lowest, color) in enumerate(reversed(BANDS)):
        label = f"≥ {lowest}" if lowest else f"< {BANDS[1][0]}"
        yield from _swatch(_LEFT + 124 + 76 * index, 80, color, label)
    if not all(track.known.all() for track in tracks):
        yield from _swatch(_LEFT + 124, 104, _MISSING, "not in the model")
    if any(np.isfinite(track.plddt).any() for track in tracks):
        yield f'<path d="M{_LEFT} 99h22" stroke="{_INK}" stroke-width="2"/>'
        yield f'<text x="{_LEFT + 30}" y="104">pLDDT</text>'


def _swatch(x: int, y: int, color: str, label: str) -> Iterator[str]:
    yield f'<rect x="{x}" y="{y - 12}" width="14" height="14" rx="2" fill="{color}"/>'
    yield f'<text x="{x + 20}" y="{y}">{escape(label)}</text>'


def _panel(track: Track, top: int, named: bool) -> Iterator[str]:
    width, num = _WIDTH - _LEFT - _RIGHT, len(track.lddt)
    step = width / num
    bottom = top + _PANEL
    missing = "".join(
        f"M{_LEFT + step * n:.2f} {bottom}v{-_PANEL}h{step:.2f}V{bottom}"
        for n in np.flatnonzero(~track.known)
    )
    if missing:
        yield f'<path d="{missing}" fill="{_MISSING}"/>'
    for value in (0, 50, 70, 90, 100):
        y = bottom - _PANEL * value / 100
        yield f'<path d="M{_LEFT} {y:g}h{width}" stroke="{"#888" if not value else "#DDD"}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 5:g}" font-size="13" text-anchor="end">{value}</text>'
    values = np.where(track.known, np.nan_to_num(track.lddt) * 100, 0)
    band = np.digitize(values, [lowest for lowest, _ in BANDS[1:]])
    for index, (_, color) in enumerate(BANDS):
        bars = "".join(
            f"M{_LEFT + step * n:.2f} {bottom}v{-_PANEL * values[n] / 100:.1f}h{step:.2f}V{bottom}"
            for n in np.flatnonzero((band == index) & (values > 0))
        )
        if bars:
            yield f'<path d="{bars}" fill="{color}"/>'
    yield from _line(track.plddt, step, bottom)
    yield from _ticks(track.numbers, step, bottom)
    if named:
        yield f'<text x="{_LEFT}" y="{top - 9}" font-weight="600">Chain {_text(track.name)}</text>'


def _line(plddt: Float[np.ndarray, " N"], step: float, bottom: int) -> Iterator[str]:
    """Yield the line of pLDDT, with gaps where pLDDT is unknown."""
    known = np.isfinite(plddt)
    points = [
        f"{'L' if n and known[n - 1] else 'M'}{_LEFT + step * (n + 0.5):.2f} "
        f"{bottom - _PANEL * np.clip(plddt[n], 0, 100) / 100:.1f}"
        for n in np.flatnonzero(known)
    ]
    if points:
        line = "".join(points)
        for color, width in (("#FFF", 4), (_INK, 1.6)):  # white around it: it crosses dark bars
            yield f'<path d="{line}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def _ticks(numbers: np.ndarray, step: float, bottom: int) -> Iterator[str]:
    """Yield round residue numbers along the axis, as many as fit."""
    every = next(each for each in _STEPS if len(numbers) / each <= _MAX_TICKS)
    last = -_TICK_ROOM * 1.0
    for n in np.flatnonzero(numbers % every == 0).tolist():
        x = _LEFT + step * (n + 0.5)
        if x - last < _TICK_ROOM:  # numbers may jump
            continue
        last = x
        yield f'<path d="M{x:.2f} {bottom}v5" stroke="#888"/>'
        yield f'<text x="{x:.2f}" y="{bottom + 21}" text-anchor="middle">{numbers[n]}</text>'


def _text(text: str) -> str:
    """Return the text escaped for XML, without control characters, shortened if it is long."""
    shown = "".join(letter for letter in text if letter.isprintable())
    return escape(shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…")
