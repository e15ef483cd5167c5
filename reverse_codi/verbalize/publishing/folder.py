"""The folder of a verbalizer: what it holds, how it is copied for others, where it is fetched from."""

from __future__ import annotations

from pathlib import Path

import yaml

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import ENCODED_FILE
from reverse_codi.reading.metric import MAPS_FILE
from reverse_codi.reasoners.load import ASSETS
from reverse_codi.recipe.reasoner import EMBEDDED, Source
from reverse_codi.recipe.schema import RECIPE_FILE, Recipe, recipe_beside
from reverse_codi.storage.files import copy_whole, strict_json, write_whole
from reverse_codi.storage.hub import fetched, is_hub_id
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.manifest import MANIFEST, check_files, write_manifest
from reverse_codi.trainers.checkpoints import ADAPTER_CONFIG, POLICY_WEIGHTS
from reverse_codi.utils.config import validated
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.policy import RESTORE
from reverse_codi.verbalize.publishing.place import Place
from reverse_codi.verbalize.translations.reference_texts import FILE as REFERENCES_FILE

EMBEDDED_FOLDER = ASSETS / "verbalizer"

_COPIED = (POLICY_WEIGHTS, VERBALIZER_FILE, MAPS_FILE, ENCODED_FILE)
FILES = (ADAPTER_CONFIG, *_COPIED, REFERENCES_FILE, RECIPE_FILE, MANIFEST)
"""What a verbalizer is loaded from."""


def verbalizer_folder(path: str | Path, revision: str | None = None) -> Path:
    """The folder of a verbalizer: the embedded one's, the path itself, a run's, or one from the hub.

    Args:
        path: "embedded", a folder, or a hub id.
        revision: commit, branch or tag of a hub id.

    Raises:
        UserError: there is none.
    """
    if str(path) == EMBEDDED:
        return EMBEDDED_FOLDER
    if is_hub_id(path):
        path = fetched(str(path), revision, FILES, "verbalizer")
    looked = [Path(path), Path(path) / "verbalizer"]
    for folder in looked:
        if (folder / VERBALIZER_FILE).is_file():
            return folder
    there = " or ".join(map(str, looked))
    raise UserError(f"no verbalizer in {there}; train one first (reverse_codi.train), or write 'embedded'")


def copy_verbalizer(source: Path, folder: Path, place: Place) -> None:
    """Copy what a verbalizer is loaded from, with a recipe and an adapter that name its reasoner.

    Args:
        source: the verbalizer's folder.
        folder: gets the files; made if it is missing.
        place: of the reasoner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe_beside(source) | {"reasoner": place.recorded()}
    check_files(source, (ADAPTER_CONFIG, *_COPIED), RESTORE)
    adapter = read_object(source / ADAPTER_CONFIG, RESTORE)
    # PEFT wrote the folder that its base was loaded from, which others do not have.
    adapter |= {"base_model_name_or_path": None if place.converted else place.hub_id}
    for name in _COPIED:
        if (source / name).is_file() and not _same(source / name, folder / name):
            copy_whole(source / name, folder / name)
    write_whole(folder / ADAPTER_CONFIG, strict_json(adapter, indent=2) + "\n")
    write_whole(folder / RECIPE_FILE, yaml.safe_dump(recipe, sort_keys=False))
    write_manifest(folder, [name for name in (ADAPTER_CONFIG, *_COPIED) if (folder / name).is_file()])


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def reasoner_source(folder: Path, path: str | Path) -> Source:
    """The reasoner that the recipe of a verbalizer's folder names; the embedded one without a recipe.

    Args:
        folder: the verbalizer's.
        path: what was asked for; a recipe from the hub may not run Python code from elsewhere.

    Raises:
        UserError: `path` is of the hub, and the recipe asks for `reasoner.trust_remote_code`.
    """
    source = validated(Recipe, recipe_beside(folder), str(folder)).reasoner
    if is_hub_id(path) and source.trust_remote_code:
        raise UserError(
            f"the recipe of {path}, from the hub, asks for reasoner.trust_remote_code: true, which would "
            "run Python code of its reasoner; look at that code, load the reasoner yourself, and give it as "
            "reasoner="
        )
    if is_hub_id(path):  # where to write is for whoever runs it to say
        return source.model_copy(update={"converted": Source.model_fields["converted"].default})
    return source
