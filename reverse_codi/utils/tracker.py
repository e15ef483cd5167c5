"""Weights & Biases: whether it can be used, asked before any long work, and one run a stage."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import requests
import wandb
from wandb.sdk import wandb_setup
from wandb.sdk.lib import wbauth

log = logging.getLogger(__name__)

# W&B itself tries for 90 s and then ends the run.
ANSWER_S = 5.0


class LogSettings(Protocol):
    """What a recipe says of W&B, its section `log`."""

    @property
    def wandb(self) -> bool:
        """Whether to use it."""
        ...

    @property
    def project(self) -> str:
        """The W&B project."""
        ...


def start_wandb(project: str) -> None:
    """Send runs to the user's W&B project, or keep them offline where it cannot be used.

    The log gets one line where runs are kept offline and the user did not ask for that.

    Args:
        project: W&B project, unless `WANDB_PROJECT` names one.
    """
    os.environ.setdefault("WANDB_PROJECT", project)
    # Its service needs more than the default 30 s on a busy machine, and a late start would end the run.
    os.environ.setdefault("WANDB__SERVICE_WAIT", "300")
    settings = wandb_setup.singleton().settings
    if settings.mode in ("offline", "dryrun", "disabled"):
        return
    login = wbauth.authenticate_session(
        host=settings.base_url, source="reverse_codi", prompt=False, update_session=False
    )
    if login is None:
        _go_offline("nobody is logged in (`wandb login`)")
        return
    key = login.api_key if isinstance(login, wbauth.AuthApiKey) else None
    if problem := refusal(settings.base_url, key, ANSWER_S):
        _go_offline(f"{settings.base_url} {problem}")


def refusal(host: str, key: str | None, seconds: float) -> str:
    """Why a W&B server cannot be used; "" if it can.

    Args:
        host: its address.
        key: the API key; None where the login is no key, and only an answer is asked for.
        seconds: for everything. A name that is looked up and a server that sends its answer by drops have no
            time limit of their own, so a thread waits for them.
    """
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(_asked(host, key, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0] if found else _silence(seconds)


def _silence(seconds: float) -> str:
    """What both time limits come to: the thread's here, and that of the library in the thread."""
    return f"does not answer in {seconds:g} s"


def _asked(host: str, key: str | None, seconds: float) -> str:
    try:
        answer = requests.post(
            f"{host.rstrip('/')}/graphql",
            json={"query": "query Viewer { viewer { id } }"},
            auth=None if key is None else ("api", key),
            timeout=seconds,
        )
    except requests.Timeout:
        return _silence(seconds)
    except requests.ConnectionError:
        return "cannot be reached"
    except requests.RequestException as error:
        return f"cannot be asked ({type(error).__name__})"
    if answer.status_code in (401, 403):
        return "" if key is None else f"does not take the API key (HTTP {answer.status_code})"
    return "" if answer.ok else f"answers HTTP {answer.status_code}"


def _go_offline(reason: str) -> None:
    os.environ["WANDB_MODE"] = "offline"
    wandb.teardown()  # it has read its settings by now, and would not look at the mode again
    kept = "figures are kept offline in wandb/, and `wandb sync` sends them later"
    log.warning(f"W&B: {reason}; {kept}")


@contextmanager
def tracked(settings: LogSettings, stage: str, out: Path | None = None) -> Iterator[str]:
    """A W&B run of one stage, where the recipe asks for W&B; the end of the block ends it.

    Args:
        settings: the recipe's.
        stage: the run's job type, such as "warm start".
        out: folder of the run's files; `wandb/` in the working directory if None.

    Yields:
        What a Trainer's `report_to` takes: "wandb" or "none".
    """
    if not settings.wandb:
        yield "none"
        return
    start_wandb(settings.project)
    folder = None if out is None else str(out)
    try:
        run = wandb.init(job_type=stage, dir=folder)
    except wandb.errors.CommError as error:  # the network went since it was asked
        _go_offline(str(error).splitlines()[0])
        run = wandb.init(job_type=stage, dir=folder)
    with run:
        yield "wandb"


def log_point(figures: Mapping[str, float | int | None], step: int | None = None) -> None:
    """Send figures to the run of this stage, if there is one; for a point of a curve, with its step."""
    if wandb.run is not None:
        wandb.run.log({**figures} if step is None else {**figures, "train/global_step": step})
