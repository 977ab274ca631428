"""A small SVG line chart for the training curves in the docs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 32, 40, 48
LEGEND_ROW = 20
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c8c8c", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, safe for colour-blind readers; further lines are dashed."""


@dataclass(frozen=True)
class Series:
    """Points, joined in this order.

    Attributes:
        name: Text of the legend.
        points: x and y.
        dashed: Whether the points were measured by others.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def svg(
    title: str, labels: tuple[str, str], series: Sequence[Series], *, log_x: bool = False
) -> str:
    """Return a line chart as SVG; its y axis starts at 0.

    Args:
        title: Shown above the chart and read by screen readers.
        labels: Labels of the x and y axes.
        series: At least one, none of them empty.
        log_x: Whether the x axis is logarithmic.
    """
    points = [point for each in series for point in each.points]
    xs, top = [x for x, _ in points], max(y for _, y in points)
    step = _round_step(top / 5)
    rows = math.ceil(top / step)
    marks = _log_marks(min(xs), max(xs)) if log_x else _marks(max(xs))
    scale = math.log10 if log_x else float
    low, high = (min(marks[0], *xs) if log_x else 0.0), max(marks[-1], *xs)

    def at_x(x: float) -> float:
        share = (scale(x) - scale(low)) / (scale(high) - scale(low)) if low or log_x else x / high
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - y / (rows * step) * (HEIGHT - TOP - BOTTOM)

    height = HEIGHT + LEGEND_ROW * math.ceil(len(series) / 2) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for number in range(rows + 1):
        y = at_y(number * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number * step:g}</text>'
        )
    for mark in marks:
        x = at_x(mark)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{mark:,.0f}</text>'
        )
    middle = (HEIGHT - BOTTOM + TOP) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        f'{escape(labels[0])}</text><text transform="translate(16 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(labels[1])}</text>'
    )
    for number, each in enumerate(series):
        color = COLORS[number % len(COLORS)]
        dashed = each.dashed or number >= len(COLORS)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in each.points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>'
        )
        if len(each.points) <= 20:
            parts += [
                f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{color}"/>'
                for x, y in each.points
            ]
        x, y = LEFT + (number % 2) * WIDTH // 2, HEIGHT + LEGEND_ROW * (number // 2) + 12
        parts.append(
            f'<path d="M{x} {y - 4}h24" stroke="{color}" stroke-width="2"{dash}/>'
            f'<text x="{x + 32}" y="{y}">{escape(each.name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _round_step(size: float) -> float:
    """Return the size rounded up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= size * 0.999)


def _marks(high: float) -> list[float]:
    step = _round_step(high / 6)
    return [step * number for number in range(int(high / step) + 1)]


def _log_marks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [factor * 10.0**power for power in powers for factor in (1, 3)]
    return [mark for mark in marks if low / 3 < mark <= high * 1.01]
