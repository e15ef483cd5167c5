"""Plotly figures as pages of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plotly.io import write_html  # type: ignore[import-untyped]

from reverse_codi.storage.files import whole_file


def write_page(page: Path, shown: dict[str, Any]) -> None:
    """Write a figure as one HTML file that needs no network."""
    with whole_file(page) as temporary:
        write_html(shown, temporary, include_plotlyjs=True)
