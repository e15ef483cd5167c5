"""Plotly figures of a report: data and what the axes mean. The page adds the colours of its theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from reverse_codi.reports.ablations import AblationReport
from reverse_codi.reports.curves import Curves
from reverse_codi.reports.records import Point, PointKind, ThoughtMap

Chart = dict[str, Any]

# Distinct for people of any colour vision, on white and on black (Okabe and Ito 2008; yellow is left out).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a68c9", "#8a8f98")
# Lines of whose names a legend has no more room.
MOST_SHOWN = 5


def colour(place: int) -> str:
    """The colour of the n-th site or line."""
    return COLOURS[place % len(COLOURS)]


def map_chart(found: ThoughtMap, sites: Sequence[str]) -> Chart:
    """The map of thoughts: references small, thoughts filled, texts open, a line from a thought to its text.

    A point of a trace carries the trace's index, so that the page can go there.
    """
    data: list[Chart] = [_lines(found.points)]
    for kind, symbol, size, opacity in (
        (PointKind.REFERENCE, "circle", 4, 0.3),
        (PointKind.TEXT, "diamond-open", 10, 1.0),
        (PointKind.THOUGHT, "circle", 9, 0.95),
    ):
        for place, site in enumerate(sites):
            own = [point for point in found.points if point.kind is kind and point.site == site]
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": site,
                    "legendgroup": site,
                    "showlegend": kind is PointKind.THOUGHT,
                    "x": [point.x for point in own],
                    "y": [point.y for point in own],
                    "text": [_label(point) for point in own],
                    "customdata": [point.trace for point in own],
                    "hovertemplate": "%{text}<extra></extra>",
                    "hoverinfo": "skip" if kind is PointKind.REFERENCE else None,
                    "marker": {"symbol": symbol, "size": size, "opacity": opacity, "color": colour(place)},
                }
            )
            if kind is PointKind.REFERENCE:
                del data[-1]["hovertemplate"]
    first, second = found.explained
    layout = {
        "xaxis": {"title": {"text": f"first component, {first:.0%} of the variance"}},
        "yaxis": {"title": {"text": f"second component, {second:.0%}"}},
        "height": 520,
    }
    return {"data": data, "layout": layout}


def curves_chart(curves: Curves) -> Chart:
    """Lines; where there are many, the first ones are shown and the others wait in the legend."""
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(series.x) <= 40 else "lines",
            "name": escape(series.name),
            "x": list(series.x),
            "y": list(series.y),
            "visible": True if place < MOST_SHOWN else "legendonly",
            "line": {"color": colour(place), "width": 2},
            "marker": {"size": 5},
        }
        for place, series in enumerate(curves.series)
    ]
    return {"data": data, "layout": {"xaxis": {"title": {"text": curves.across}}, "height": 300}}


def phases_chart(curves: Curves) -> Chart:
    """Seconds of each phase, one on top of the other."""
    data = [
        {
            "type": "bar",
            "name": escape(series.name),
            "x": list(series.x),
            "y": list(series.y),
            "marker": {"color": colour(place)},
        }
        for place, series in enumerate(curves.series)
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.05,
        "xaxis": {"title": {"text": curves.across}},
        "yaxis": {"title": {"text": "seconds"}},
        "height": 300,
    }
    return {"data": data, "layout": layout}


def ablation_charts(found: AblationReport) -> Mapping[str, Chart]:
    """For each figure of the table the rows as dots, with their intervals."""
    return {name: _ablation_chart(found, name) for name in found.figures}


def _ablation_chart(found: AblationReport, figure: str) -> Chart:
    rows = [
        (name, cell.value, cell.half)
        for name, cells in reversed(list(found.rows.items()))
        if (cell := cells[figure]) is not None and cell.value is not None
    ]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [value for _, value, _ in rows],
        "y": [escape(name) for name, _, _ in rows],
        "error_x": {"type": "data", "array": [half or 0 for *_, half in rows], "thickness": 1.5, "width": 4},
        "marker": {"size": 9, "color": colour(0)},
        "showlegend": False,
    }
    layout = {
        "xaxis": {"title": {"text": escape(figure)}},
        "yaxis": {"type": "category", "automargin": True},
        "height": 110 + 26 * len(rows),
    }
    return {"data": [dots], "layout": layout}


def _lines(points: Sequence[Point]) -> Chart:
    """From each thought to its text."""
    ends: dict[tuple[int | None, str], dict[PointKind, Point]] = {}
    for point in points:
        if point.kind is not PointKind.REFERENCE:
            ends.setdefault((point.trace, point.site), {})[point.kind] = point
    pairs = [(each[PointKind.THOUGHT], each[PointKind.TEXT]) for each in ends.values() if len(each) == 2]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for thought, text in pairs for x in (thought.x, text.x, None)],
        "y": [y for thought, text in pairs for y in (thought.y, text.y, None)],
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": "rgba(128, 128, 128, 0.45)", "width": 1},
    }


def _label(point: Point) -> str:
    """What the pointer shows; Plotly reads it as HTML."""
    if point.trace is None:
        return ""
    what = "its text's place" if point.kind is PointKind.TEXT else "thought"
    return f"trace {point.trace + 1}, {point.site} ({what})<br>{escape(point.text)}"
