"""Being a Ray job: a job works in a copy of the submitted directory, and Ray deletes the copy.

What a job writes must lie elsewhere. A relative place in a recipe (`train.out`, `trace.out`, `distill.out`)
therefore means the same place below a results folder that stays: `~/reverse_codi` of the machine on which the
job runs, or the folder or URL in `REVERSE_CODI_RESULTS`. It does not depend on the job's id, so a second job
goes on where the first stopped. Such a place is not refused, because every recipe names one, and a recipe
should run as a job as it stands.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray 2.60 sets it for the entrypoint of a job, to the job's runtime environment."""
RESULTS = "REVERSE_CODI_RESULTS"
# The folder in a Ray session that holds the copies of working directories.
COPIES = "working_dir_files"
# fsspec's names for files of this machine.
_LOCAL = ("file://", "local://")


def is_job() -> bool:
    """Whether this process is the entrypoint of a Ray job, or was started by one."""
    return JOB in os.environ


def in_working_copy(path: str | Path) -> bool:
    """Whether a path lies in a copy that Ray deletes; a relative path is one of the working directory."""
    return COPIES in Path(path).absolute().parts


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL, such as `s3://bucket/run`, also one that `Path` made `s3:/bucket/run` of.

    >>> is_url("s3://bucket/run"), is_url("runs/tiny")
    (True, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+(:/|::)", str(place)) is not None


def without_file_scheme(place: str) -> str:
    """The path of a URL that names a file or folder of this machine; anything else as it is.

    >>> without_file_scheme("file:///data/run"), without_file_scheme("s3://bucket/run")
    ('/data/run', 's3://bucket/run')
    """
    return next((place.removeprefix(scheme) for scheme in _LOCAL if place.startswith(scheme)), place)


def lasting(place: str) -> str:
    """Where an output goes: as it is given, but for a relative path in a job's working copy.

    Args:
        place: a path, or a URL.

    Returns:
        A path, or a URL that fsspec takes. What climbs out of the working directory (`..`) stays as it is:
        `storage.outputs.check_folder` refuses it.
    """
    place = without_file_scheme(place)
    if is_url(place) or os.path.isabs(place) or not in_working_copy(place):
        return place
    inside = os.path.normpath(place)
    if inside.startswith(".."):
        return place
    home = os.path.join(os.path.expanduser("~"), "reverse_codi")
    root = without_file_scheme(os.environ.get(RESULTS) or home)
    return f"{root.rstrip('/')}/{inside}"


def lasting_folder(place: str) -> Path:
    """`lasting` for what can be made again, which stays on this machine where the results folder is a URL."""
    lasts = lasting(place)
    return Path(place if is_url(lasts) else lasts)
