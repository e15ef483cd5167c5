"""The page of a report: one HTML file that needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from reverse_codi import __version__
from reverse_codi.reading.interventions.replace import Replacement
from reverse_codi.reports.charts import COLOURS, Chart, ablation_charts, curves_chart, map_chart, phases_chart
from reverse_codi.reports.records import REPLACEMENTS, Control
from reverse_codi.reports.report import Report
from reverse_codi.storage.files import nulled, write_whole
from reverse_codi.utils.bootstrap import Interval

TEMPLATE = "report.html.j2"

CONTROLS: Mapping[Control, str] = {
    Control.OTHER: "another's text",
    Control.LENS: "lens word",
    Control.SEARCH: "lens search",
    Control.CONSTANT: "constant text",
    Control.EMPTY: "no text",
}
"""What the page calls the controls."""

REPLACED: Mapping[Replacement | None, str] = {
    Replacement.TRANSLATION: "its own text",
    Replacement.OTHER_TEXT: "another's text",
    Replacement.EMPTY_TEXT: "no text",
    Replacement.OTHER: "another thought",
    Replacement.MEAN: "the mean thought",
    None: "its text, edited",
}
"""What the page calls that which replaces a thought."""


def write_report(report: Report, file: Path, made: datetime | None = None) -> None:
    """Write a report's page; missing folders are made."""
    write_whole(file, page(report, made))


def page(report: Report, made: datetime | None = None) -> str:
    """A report as HTML.

    Every text of a model or a user is escaped. The page loads nothing: style, script and Plotly are in it.

    Args:
        report: what it shows.
        made: when; now if None.
    """
    charts = _Charts()
    shown = _environment().get_template(TEMPLATE)
    return shown.render(
        report=report,
        charts=charts,
        made=(made or datetime.now()).strftime("%Y-%m-%d %H:%M"),
        version=__version__,
        controls=CONTROLS,
        replaced=REPLACED,
        replacements=REPLACEMENTS,
        translation=Replacement.TRANSLATION,
        colours=COLOURS,
        plotly=_plotly(),
    )


class _Charts:
    """The charts of a page: the template asks for one where it stands, and the page's end holds all."""

    def __init__(self) -> None:
        self._known: dict[str, Chart] = {}

    def _add(self, chart: Chart) -> str:
        name = f"chart-{len(self._known)}"
        self._known[name] = chart
        return name

    def of_map(self, *given: Any) -> str:
        """Name of the map's chart."""
        return self._add(map_chart(*given))

    def of_curves(self, *given: Any) -> str:
        """Name of a chart of lines."""
        return self._add(curves_chart(*given))

    def of_phases(self, *given: Any) -> str:
        """Name of the chart of phases."""
        return self._add(phases_chart(*given))

    def of_ablation(self, *given: Any) -> dict[str, str]:
        """Figure -> name of its chart."""
        return {figure: self._add(chart) for figure, chart in ablation_charts(*given).items()}

    def all(self) -> dict[str, Chart]:
        """Name -> chart, without NaN."""
        known: dict[str, Chart] = nulled(self._known)
        return known


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("reverse_codi.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "percent": percent, "filled": filled, "span": span}
    made.globals["include_raw"] = _raw
    return made


def _raw(name: str) -> Markup:
    """A file beside the template as it stands: the page's own style or script."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])


@cache
def _plotly() -> Markup:
    return Markup(get_plotlyjs())


def number(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash where there is none.

    >>> number(0.849), number(-8.016), number(-0.001), number(None), number(float("nan"))
    ('0.85', '-8.02', '0.00', '–', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0 takes the sign off a zero


def percent(value: float | None) -> str:
    """A share in per cent, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.0%}"


def filled(value: float | None) -> str:
    """How much of a bar is filled, in per cent: a match below 0 fills nothing."""
    return "0" if value is None or not math.isfinite(value) else f"{100 * min(1.0, max(0.0, value)):.0f}"


def span(figure: Interval, digits: int = 2, share: bool = False) -> str:
    """The ends of an interval, "" where too few traces give none.

    >>> span(Interval(0.5, 0.25, 0.75, 8)), span(Interval(1.0, 0.2, 1.0, 1))
    ('0.25 to 0.75', '')
    """
    if figure.n < 3 or not (math.isfinite(figure.low) and math.isfinite(figure.high)):
        return ""
    shown = percent if share else number
    return f"{shown(figure.low)} to {shown(figure.high)}"
