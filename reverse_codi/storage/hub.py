"""Folders from and to the Hugging Face hub; errors say which repository, and what to do.

This layer stands in place of `huggingface_hub.ModelHubMixin` (read at 1.33), which does not fit:

* It takes `config.json` for the arguments of `__init__`: it reads the file before it loads, and deletes it
  before it saves. In a reasoner's folder this file is the language model's, and `config` is an argument.
* Its `push_to_hub` hands on nothing but the words of a card. What is written here depends on where it goes: a
  pushed recipe must name a reasoner that others can load.
* It knows models only, and trace stores are datasets.

So a class here has `save_pretrained` and `push_to_hub` with the usual names, and uses `HfApi` itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

import httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from reverse_codi.errors import UserError

T = TypeVar("T")

RepoType = Literal["model", "dataset"]

CARD_FILE = "README.md"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FILE_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".yaml")


class HubError(UserError):
    """The hub, or a folder that should be there, did not give or take what was asked; the message says."""


def is_hub_id(word: str | Path) -> bool:
    """Whether a source is meant as a repository of the hub: owner/name, and no folder or file here."""
    path = Path(word).expanduser()
    return not path.exists() and not _is_path(str(word))


def fetched(
    path: str, revision: str | None, patterns: Sequence[str], key: str, repo_type: RepoType = "model"
) -> Path:
    """A local path itself, or the files of a hub id that match patterns.

    Args:
        path: a folder, a file or a hub id.
        revision: commit, branch or tag of a hub id.
        patterns: of the files that are wanted.
        key: of the recipe, or the word, that names it; for the message.
        repo_type: kind of repository.

    Raises:
        HubError: the path does not exist, and the hub does not have it or cannot be reached.
    """
    here = Path(path).expanduser()
    if here.exists():
        return here
    if _is_path(path):
        raise HubError(
            f"{key} = {path!r} is missing: there is no such folder or file{_near(here)}; give one that is "
            "there, or a hub id (owner/name whose owner is no folder here)"
        )
    try:
        found = snapshot_download(path, repo_type=repo_type, revision=revision, allow_patterns=list(patterns))
    # Errors of huggingface_hub: no such id or revision, no right to read, offline, no connection.
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise HubError(
            f"{key} = {path!r} is no folder here, and the hub gave: {error}; "
            "give an existing folder or a hub id"
        ) from error
    return _within(Path(found), path)


def _within(snapshot: Path, path: str) -> Path:
    """A snapshot whose links all lead into its own repository's part of the cache.

    Raises:
        HubError: one leads elsewhere, so that another file of this machine would be read as a part of it.
    """
    repository = snapshot.parents[1].resolve()
    for file in snapshot.rglob("*"):
        if not file.resolve().is_relative_to(repository):
            raise HubError(
                f"{path!r}: {file} leads to {file.resolve()}, out of its repository; delete {snapshot}"
            )
    return snapshot


def pushed(
    write: Callable[[Path], object],
    repo_id: str,
    repo_type: RepoType = "model",
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Write a folder and upload it as one commit; the repository is made if there is none.

    Args:
        write: fills an empty folder.
        repo_id: "owner/name".
        repo_type: kind of repository.
        private: of a new repository; None leaves it to the owner's settings.
        revision: branch; made if there is none. None is `main`.
        token: of the hub; None takes the one of `hf auth login` or HF_TOKEN.

    Returns:
        The commit's address.

    Raises:
        HubError: the hub refused, or cannot be reached.
    """
    api = HfApi(token=token, library_name="reverse_codi")
    with TemporaryDirectory() as folder:
        # First the repository: a missing right shows before anything is written.
        _asked(
            repo_id,
            lambda: api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True),
        )
        if revision is not None:
            _asked(
                repo_id,
                lambda: api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True),
            )
        write(Path(folder))
        return _asked(
            repo_id,
            lambda: (
                api.upload_folder(
                    repo_id=repo_id,
                    repo_type=repo_type,
                    folder_path=folder,
                    revision=revision,
                    commit_message="Upload by reverse_codi",
                ).commit_url
            ),
        )


def _asked(repo_id: str, request: Callable[[], T]) -> T:
    """What the hub answers.

    Raises:
        HubError: names the repository and the fix.
    """
    try:
        return request()
    # Not found, no right to write; a name that is none; offline; no connection.
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise HubError(
            f"nothing was pushed to {repo_id!r}, the hub gave: {error}; log in with `hf auth login` or set "
            "HF_TOKEN to a token that may write there, and leave HF_HUB_OFFLINE unset"
        ) from error


def _is_path(path: str) -> bool:
    """Whether a missing source is meant as a path: not a hub id, a weight file, or in an existing folder."""
    return not _HUB_ID.fullmatch(path) or path.endswith(_FILE_SUFFIXES) or Path(path).parent.is_dir()


def _near(path: Path) -> str:
    """The names beside a missing path, if there are any."""
    beside = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""
