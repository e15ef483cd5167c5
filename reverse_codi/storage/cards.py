"""Cards of models and data sets: a YAML head that the hub reads, and Markdown for people.

Templates are Jinja2; the head is `huggingface_hub`'s `CardData`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData, ModelCardData
from jinja2 import Environment, StrictUndefined

from reverse_codi.storage.files import write_whole
from reverse_codi.storage.hub import CARD_FILE

LIBRARY = "reverse_codi"


def card(template: Path, head: ModelCardData | DatasetCardData, **values: Any) -> str:
    """A card's text.

    Args:
        template: of its Markdown.
        head: of its YAML.
        values: that the template names; a name without a value is an error.
    """
    # Nothing is escaped: Markdown is not HTML, and the values are ours.
    made = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False)
    body = made.from_string(template.read_text(encoding="utf-8")).render(**values)
    return f"---\n{head.to_yaml()}\n---\n\n{body.strip()}\n"


def write_card(folder: str | Path, text: str) -> None:
    """Put a card into a folder, in place of one that is there."""
    write_whole(Path(folder) / CARD_FILE, text)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is written as one."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
