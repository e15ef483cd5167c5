"""Where others find the reasoner that a verbalizer belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import import_report
from reverse_codi.recipe.reasoner import EMBEDDED, Source
from reverse_codi.storage.hub import is_hub_id

# Where a reasoner is loaded is no property of a verbalizer, and neither is where its conversion is kept.
_OF_THE_MACHINE = {"device", "converted"}


@dataclass(frozen=True)
class Place:
    """Where a reasoner is.

    Attributes:
        source: as a recipe names it.
        converted: whether it was made from a public checkpoint, which plain transformers cannot load.
        folder: of the reasoner in the own format, on this machine; "" if it was never saved.
    """

    source: Source
    converted: bool
    folder: str

    @classmethod
    def of(cls, reasoner: CodiReasoner, source: Source | None, instead: str | None = None) -> Place:
        """Where a loaded reasoner is.

        Args:
            reasoner: the one.
            source: what it was loaded from; None takes its folder.
            instead: a hub id or folder that holds it in the own format, for others.
        """
        folder = "" if reasoner.path is None else str(reasoner.path)
        if instead is not None:
            return cls(Source(path=instead), converted=False, folder=folder)
        converted = reasoner.path is not None and import_report(reasoner.path) is not None
        return cls(source or Source(path=folder), converted, folder)

    @property
    def public(self) -> bool:
        """Whether others can load it by this name."""
        return self.source.path == EMBEDDED or is_hub_id(self.source.path)

    @property
    def hub_id(self) -> str | None:
        """Its repository on the hub, if it has one."""
        return self.source.path if self.public and self.source.path != EMBEDDED else None

    @property
    def base(self) -> list[str]:
        """Lines of Python, the last of which names what plain transformers load; imports come first."""
        if self.source.path == EMBEDDED:
            found = 'base = files("reverse_codi") / "reasoners/embedded/reasoner"'
            return ["from importlib.resources import files", f"{found}  # comes with the package"]
        if self.converted:
            folder = "..." if self.public else self.folder
            return [f'base = "{folder}"  # the folder that `reverse-codi checkpoint recipe.yaml` names']
        return [f'base = "{self.source.path}"']

    def recorded(self) -> dict[str, object]:
        """The section `reasoner` of a recipe that goes with a verbalizer."""
        return self.source.model_dump(mode="json", exclude=_OF_THE_MACHINE, exclude_defaults=True) | {
            "path": self.source.path
        }

    def check_public(self) -> None:
        """Refuse a reasoner that others cannot load.

        Raises:
            UserError: it is a folder of this machine.
        """
        if not self.public:
            raise UserError(
                f"the reasoner of this verbalizer is {self.source.path!r}, a folder that others do not have; "
                f"push it first (reverse-codi push {self.folder or 'FOLDER'} OWNER/NAME), then name it "
                "(--reasoner OWNER/NAME)"
            )
