"""Find a reasoner by name or folder."""

from __future__ import annotations

from pathlib import Path

from reverse_codi.reasoners.codi import CodiReasoner

EMBEDDED = "embedded"
ASSETS = Path(__file__).parent.parent / "assets" / "tiny"


def reasoner_folder(path: str) -> Path:
    """The folder that a recipe's `reasoner.path` means."""
    return ASSETS / "reasoner" if path == EMBEDDED else Path(path)


def load_reasoner(path: str, device: str = "cpu") -> CodiReasoner:
    """Load the frozen reasoner from a folder; `embedded` is the one in the package."""
    return CodiReasoner.from_pretrained(reasoner_folder(path), device)
