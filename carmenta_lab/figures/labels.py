"""Where does the name of every point stand so that none covers another name or a point?"""

from collections.abc import Iterator, Sequence
from math import cos, pi, sin
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from carmenta_lab.figures.page import QUIET, TEXT

DIRECTIONS = [pi * eighth / 4 for eighth in (0, 1, 7, 2, 6, 3, 5, 4)]
"""Right of the point first, then above and below, left last."""
NEAR, FAR = (9, 16), (26, 40, 56, 74, 94, 116, 140)
"""Points between the mark and its name; from a far name a line leads to the mark."""


class Point(NamedTuple):
    """One named mark, with the ends of its interval."""

    x: float
    y: float
    low: float
    high: float
    name: str
    colour: str


def name_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write the names, the crowded ones with a line to their point; call it last, when limits and scales are set.

    The first place that is free and inside the axes is taken; where none is, the one that covers least, and
    covering a name or a mark counts ten times as much as covering an interval.
    """
    figure.draw_without_rendering()
    frame, pixels = axes.get_window_extent(), figure.dpi / 72
    solid, light = [], []
    for point in points:
        (x, y), (_, low), (_, high) = axes.transData.transform([(point.x, v) for v in (point.y, point.low, point.high)])
        solid.append(Bbox.from_extents(x - 6 * pixels, y - 6 * pixels, x + 6 * pixels, y + 6 * pixels))
        light.append(Bbox.from_extents(x - 3 * pixels, low, x + 3 * pixels, high))
    for point in sorted(points, key=lambda point: (-point.y, point.x)):
        x, y = axes.transData.transform((point.x, point.y))
        note = axes.annotate(point.name, (point.x, point.y), xytext=(0, 0), textcoords="offset points")
        note.set(fontsize=TEXT, color=point.colour, va="bottom", ha="left", in_layout=False)
        size = note.get_window_extent()
        best, least = (0.0, 0.0, False, size), float("inf")
        for left, bottom, far in _places(size.width / pixels, size.height / pixels):
            box = Bbox.from_bounds(x + left * pixels, y + bottom * pixels, size.width, size.height)
            cost = _cost(box, frame, solid, light)
            if cost < least:
                best, least = (left, bottom, far, box), cost
            if cost == 0:
                break
        left, bottom, far, box = best
        note.set_position((left, bottom))
        solid.append(box.padded(2 * pixels))
        if far:
            _lead(axes, point, left, bottom, size.width / pixels, size.height / pixels)


def _places(width: float, height: float) -> Iterator[tuple[float, float, bool]]:
    """Offsets in points of a name's lower left corner from its point, the wanted ones first, and whether it is far."""
    for distance in (*NEAR, *FAR):
        for direction in DIRECTIONS:
            across, up = round(cos(direction), 3), round(sin(direction), 3)
            left = across * distance - (width if across < 0 else width / 2 if across == 0 else 0)
            bottom = up * distance - (height if up < 0 else height / 2 if up == 0 else 0)
            yield left, bottom, distance in FAR


def _cost(box: Bbox, frame: Bbox, solid: Sequence[Bbox], light: Sequence[Bbox]) -> float:
    """Pixels covered, weighted; 0 for a free place."""
    outside = box.width * box.height - _shared(box, frame)
    return 10 * (outside + sum(_shared(box, other) for other in solid)) + sum(_shared(box, other) for other in light)


def _shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return float(both.width * both.height) if both is not None else 0.0


def _lead(axes: Axes, point: Point, left: float, bottom: float, width: float, height: float) -> None:
    """A thin line from the point to the nearest place on the edge of its name."""
    nearest = (min(max(0.0, left), left + width), min(max(0.0, bottom), bottom + height))
    line = axes.annotate(
        "",
        (point.x, point.y),
        textcoords="offset points",
        xytext=nearest,
        arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5},
    )
    line.set_in_layout(False)
