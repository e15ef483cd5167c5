"""What a folder holds, by its files, and how it is written for the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reasoners.card import reasoner_card
from reverse_codi.reasoners.codi_config import CONFIG_FILE
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.storage.hub import RepoType
from reverse_codi.traces.files import MANIFEST, is_store
from reverse_codi.traces.publish import write_store
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.verbalizer import Verbalizer


@dataclass(frozen=True)
class CardSettings:
    """What a user adds to a card.

    Attributes:
        reasoner: of a verbalizer: hub id of its reasoner.
        metrics: of a verbalizer: its figures.
        base_model: of a reasoner: hub id of the language model it was made from.
        license: as the hub names it.
    """

    reasoner: str | None = None
    metrics: Path | None = None
    base_model: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class Shared:
    """Something for the hub.

    Attributes:
        repo_type: kind of its repository.
        write: fills a folder with it.
    """

    repo_type: RepoType
    write: Callable[[Path], object]


def writer(what: str, repo_id: str, settings: CardSettings) -> Shared:
    """Find out what a folder holds, load it, and check that others could use it.

    Args:
        what: a folder, or "embedded".
        repo_id: "owner/name", for the card.
        settings: see `CardSettings`.

    Raises:
        UserError: the folder holds nothing that can be shared, a setting is of another kind of thing, or
            others could not load it.
    """
    folder = Path(what)
    if is_store(folder):
        _refuse(settings, "a trace store", ("reasoner", "metrics", "base_model"))
        store = TraceStore.open(folder)
        return Shared("dataset", lambda out: write_store(store, out, repo_id, settings.license))
    if (folder / CONFIG_FILE).is_file():
        _refuse(settings, "a reasoner", ("reasoner", "metrics"))
        reasoner = load_reasoner(what)
        card = reasoner_card(reasoner, repo_id, settings.license, settings.base_model)
        return Shared("model", lambda out: reasoner.write_files(out, card))
    if what == EMBEDDED or any(
        (place / VERBALIZER_FILE).is_file() for place in (folder, folder / "verbalizer")
    ):
        _refuse(settings, "a verbalizer", ("base_model",))
        verbalizer = Verbalizer.from_pretrained(what)
        return Shared(
            "model", verbalizer.writer(repo_id, settings.reasoner, settings.metrics, settings.license)
        )
    raise UserError(
        f"{what} holds nothing to share: neither a verbalizer ({VERBALIZER_FILE}), a reasoner "
        f"({CONFIG_FILE}) nor a trace store ({MANIFEST}); give the folder of one"
    )


def _refuse(settings: CardSettings, kind: str, unfit: tuple[str, ...]) -> None:
    for name in unfit:
        if (value := getattr(settings, name)) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} {value} is not for {kind}; leave it out")
