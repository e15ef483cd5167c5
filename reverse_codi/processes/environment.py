"""What the machine must offer before long work begins: Ray, temporary files, caches.

Each check takes seconds and raises one line; what is not needed is left out, with a notice. `settle` runs
before any library that reads its environment when it is imported: as a command begins, and where a
name of the public API is first asked for.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import socket
import tempfile
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.storage.outputs import OutputError, check_folder

log = logging.getLogger(__name__)

ADDRESS = "RAY_ADDRESS"
# A cluster on the same network answers in milliseconds; one that shares busy cores takes seconds.
PATIENCE_S = 10.0
# How HTTP/2, and so gRPC, begins (RFC 9113, 3.4): the client's preface and empty settings; the server answers
# with a frame of this type.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4
# What a Unix socket's path may have (unix(7)), and what Ray 2.60 puts behind the temporary folder:
# ray/session_2026-01-31_12-00-00_123456_1234567/sockets/plasma_store.
LONGEST_SOCKET = 107
SESSION = len("/ray/session_2026-01-31_12-00-00_123456_1234567/sockets/plasma_store")


class MachineError(UserError):
    """The machine lacks something; the message says what to set."""


def check_device(device: str, key: str) -> None:
    """Refuse a GPU where torch finds none.

    Args:
        device: "cpu", "cuda" or "cuda:N".
        key: what names it, for the message.

    Raises:
        MachineError: there is none.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MachineError(
            f"{key} = {device}, but torch {torch.__version__} finds no GPU on this machine; set it to cpu, "
            "or run where there is one (docs/operations.md)"
        )


# ---- Ray


def check_ray() -> None:
    """Refuse a cluster that does not answer, or a temporary folder that Ray cannot start in.

    An empty RAY_ADDRESS is taken out of the environment: it means none. Where Ray runs already in this
    process there is nothing to check.

    Raises:
        MachineError: names the variable, its value and the fix.
    """
    import ray  # takes a second, and most verbs need none of it

    if not os.environ.get(ADDRESS, "").strip():
        os.environ.pop(ADDRESS, None)
    if ray.is_initialized():
        return None
    address = os.environ.get(ADDRESS, "").strip()
    if address in ("", "auto"):
        running = running_cluster()
        if running is not None:
            return _check_answers(running.read_text().strip(), f"{running} names a cluster at")
        if address == "auto":
            raise MachineError(f"{ADDRESS} = 'auto', but no Ray runs here; `ray start --head`, or unset it")
        return check_temporary_folder()
    if address == "local":
        return check_temporary_folder()
    return _check_answers(address, f"{ADDRESS} =")


def running_cluster() -> Path | None:
    """The file in which `ray start` left the address of a cluster on this machine."""
    file = Path(_temporary()[1], "ray", "ray_current_cluster")
    return file if file.is_file() and file.read_text().strip() else None


def _check_answers(address: str, where: str) -> None:
    bare = address.removeprefix("ray://")
    host, _, port = bare.rpartition(":")
    if "://" in bare or not host or not port.isdigit():
        raise MachineError(
            f"{where} {address!r} is no address of a Ray cluster: set {ADDRESS} to HOST:6379, or unset it"
        )
    try:
        _greet(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        fix = f"start that cluster, or unset {ADDRESS} to start Ray on this machine"
        if where.startswith("/"):
            fix = "`ray stop` clears it away"
        raise MachineError(f"{where} {address!r}, where no Ray answers ({error}): {fix}") from None


def _greet(host: str, port: int) -> None:
    """See that a gRPC server listens: a bare connection may be a proxy's or another program's.

    Raises:
        OSError: none does.
    """
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
            return  # it waits for a handshake first
        connection.sendall(GREETING)
        answer = b""
        while len(answer) < 9:  # a frame's head
            received = connection.recv(9 - len(answer))
            if not received:
                break
            answer += received
    if len(answer) < 9 or answer[3] != SETTINGS_FRAME:
        raise ConnectionError("what listens there is not Ray")


def _temporary() -> tuple[str, str]:
    """The variable that says where Ray's session lies, and that folder."""
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), "")
    return name, os.environ.get(name, "/tmp")


def check_temporary_folder() -> None:
    """Refuse a folder that Ray's sockets would not fit in, or that cannot be written to.

    Raises:
        MachineError: names the variable, its value and the fix.
    """
    name, folder = _temporary()
    named = f"{name} = {folder!r}" if name else folder
    room = LONGEST_SOCKET - SESSION
    if len(os.fsencode(folder)) > room:
        raise MachineError(
            f"{named} is {len(os.fsencode(folder))} bytes long, and Ray's sockets below it allow {room}: "
            "set RAY_TMPDIR to a shorter folder (RAY_TMPDIR=/tmp)"
        )
    if not writable(folder):
        raise MachineError(f"{named} cannot be written to: set RAY_TMPDIR to a folder that can")


# ---- home


def writable(folder: str | Path) -> bool:
    """Whether files can be made in a folder, or in the one that it would be made in."""
    try:
        check_folder(folder)
    except OutputError:
        return False
    return True


def settle_home() -> str:
    """Where the home folder cannot be written to, send libraries' caches to the temporary folder.

    Call it before Hugging Face's libraries are imported: they look once. Variables that are set stay. A model
    cache that is there, though read-only, is still read.

    Returns:
        What to tell the user; "" where nothing was needed.

    Raises:
        FileNotFoundError: there is no temporary folder either.
    """
    home = os.path.expanduser("~")
    if os.path.isabs(home) and writable(Path(home, ".cache")):
        return ""
    caches = Path(tempfile.gettempdir(), f"reverse_codi-{os.getuid()}")
    models = Path(home, ".cache", "huggingface", "hub")
    if models.is_dir():
        wanted = {"HF_DATASETS_CACHE": caches / "datasets", "HF_MODULES_CACHE": caches / "modules"}
    else:
        wanted = {"HF_HOME": caches / "huggingface"}
    wanted |= {"WANDB_CACHE_DIR": caches / "wandb", "WANDB_CONFIG_DIR": caches / "wandb-config"}
    wanted |= {"WANDB_DATA_DIR": caches / "wandb-data", "TRITON_CACHE_DIR": caches / "triton"}
    wanted |= {"VLLM_CACHE_ROOT": caches / "vllm", "VLLM_CONFIG_ROOT": caches / "vllm-config"}
    missing = {name: str(place) for name, place in wanted.items() if name not in os.environ}
    if not missing:
        return ""
    caches.mkdir(mode=0o700, exist_ok=True)
    os.environ |= missing | _token(Path(home, ".ray", "auth_token"))
    return f"the home folder {home} cannot be written to: caches go to {caches} ({', '.join(missing)})"


def _token(file: Path) -> dict[str, str]:
    """A token for a Ray that is started here, which would write one to the home folder."""
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", ADDRESS}
    if file.is_file() or named & os.environ.keys():
        return {}
    return {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


@functools.cache
def settle() -> str:
    """Make the environment fit, once a process, before a library is imported that reads it then.

    With WANDB_MODE=offline transformers prints a line to standard output as it is imported, where a program
    may read a result; W&B knows that mode by an older name too.

    Returns:
        What `settle_home` has to say.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL tells the hub of every trainer that is made
    if os.environ.get("WANDB_MODE") == "offline":
        os.environ["WANDB_MODE"] = "dryrun"
    return settle_home()


@functools.cache
def settle_and_say() -> None:
    """`settle`, with what it says in the log, once a process: a verb may be silent (`--quiet`)."""
    if message := settle():
        log.warning(message)
