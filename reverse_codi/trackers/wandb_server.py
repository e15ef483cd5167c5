"""Whether Weights & Biases can be used, asked before any long work."""

from __future__ import annotations

import logging
import os
import threading

import requests
import wandb
from wandb.sdk import wandb_setup
from wandb.sdk.lib import wbauth

log = logging.getLogger(__name__)

# W&B itself tries for 90 s and then ends the run.
ANSWER_S = 5.0


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
        go_offline("nobody is logged in (`wandb login`)")
        return
    key = login.api_key if isinstance(login, wbauth.AuthApiKey) else None
    if problem := refusal(settings.base_url, key, ANSWER_S):
        go_offline(f"{settings.base_url} {problem}")


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


def go_offline(reason: str) -> None:
    """Keep the runs of this process offline from now on, and say why."""
    os.environ["WANDB_MODE"] = "offline"
    wandb.teardown()  # it has read its settings by now, and would not look at the mode again
    kept = "figures are kept offline in wandb/, and `wandb sync` sends them later"
    log.warning(f"W&B: {reason}; {kept}")
