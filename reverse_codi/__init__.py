"""Read the thoughts of latent reasoning models: CODI in reverse."""

import logging
import os

from reverse_codi.utils.environment import settle_home_and_say

__version__ = "0.1.0"

# Both before any module imports a library that reads them. With this mode transformers prints a line to
# standard output as it is loaded, where a program may read a result; W&B knows the mode by an older name too.
if os.environ.get("WANDB_MODE") == "offline":
    os.environ["WANDB_MODE"] = "dryrun"
settle_home_and_say()

# A library prints nothing of its own: its log goes where the user's configuration sends it.
logging.getLogger(__name__).addHandler(logging.NullHandler())
