"""What a folder's files must be: sizes and SHA-256, written after them and checked before they are used.

SHA-256 takes about 1.5 s a GB here. So weights that a hash of their own covers already are not listed: those
of a reasoner (`Reasoner.content_hash`, which maps and verbalizers name) and the shards of traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from reverse_codi.storage.files import DamagedError, file_sha256, write_whole

MANIFEST = "checksums.json"
# Cards are for people, who may edit them.
_NOT_LISTED = {MANIFEST, "README.md"}


class Listed(BaseModel):
    """One file: its bytes and their SHA-256 in hexadecimal digits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Listed:
        """What a file is now."""
        return cls(bytes=file.stat().st_size, sha256=file_sha256(file))


def _within(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} leads out of the folder")
    return name


class Manifest(BaseModel):
    """The content of `checksums.json`: files by their path in the folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    files: dict[Annotated[str, AfterValidator(_within)], Listed] = {}


def write_manifest(folder: Path, names: Sequence[str] | None = None) -> None:
    """List files of a folder, after they are written; what is listed of others there stays.

    Args:
        folder: holds the files.
        names: paths within it; None lists all files, those in folders too, but for cards.
    """
    listed = {} if names is None else read_manifest(folder).files if _is_there(folder) else {}
    if names is None:
        every = (file for file in folder.rglob("*") if file.is_file() and file.name not in _NOT_LISTED)
        names = [file.relative_to(folder).as_posix() for file in every]
    now = {name: Listed.of(folder / name) for name in names}
    files = dict(sorted((listed | now).items()))
    write_whole(folder / MANIFEST, Manifest(files=files).model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        FileNotFoundError: it has none.
        DamagedError: it is no manifest.
    """
    file = folder / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise DamagedError(
            f"{file} is cut or damaged ({what}): nothing says what the files beside it must be; restore it "
            "from a copy, or remove it to use them unchecked"
        ) from None


def problems(folder: Path, names: Sequence[str] | None = None) -> list[str]:
    """What is wrong with files that a folder's manifest lists; others are not looked at.

    Args:
        folder: has a manifest.
        names: the files that are asked about; None asks about all that are listed.

    Raises:
        DamagedError: the manifest itself is damaged.
    """
    listed = read_manifest(folder).files
    asked = listed if names is None else {name: listed[name] for name in names if name in listed}
    found = []
    for name, wanted in asked.items():
        file = folder / name
        if not file.is_file():
            found.append(f"{file} is missing")
        elif (size := file.stat().st_size) != wanted.bytes:
            found.append(f"{file} has {size:,} bytes, {wanted.bytes:,} were written")
        elif (sha256 := file_sha256(file)) != wanted.sha256:
            was = f"its SHA-256 is {sha256[:12]}, that of what was written {wanted.sha256[:12]}"
            found.append(f"{file} was changed or damaged after it was written ({was})")
    return found


def check_files(folder: str | Path, names: Sequence[str], fix: str) -> bool:
    """Refuse files that are not what was written.

    Args:
        folder: theirs.
        names: of the files.
        fix: what to do, for the message.

    Returns:
        Whether anything says what they must be: version 0.1.0 wrote no manifest.

    Raises:
        DamagedError: names every file that is missing, cut or changed.
    """
    folder = Path(folder)
    if not _is_there(folder):
        return False
    if found := problems(folder, names):
        raise DamagedError(f"{'; '.join(found)}. {fix[0].upper()}{fix[1:]}")
    return True


def _is_there(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()
