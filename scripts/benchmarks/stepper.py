"""One optimizer step at a time of a transformers Trainer, so that several can take turns."""

from __future__ import annotations

import threading
from typing import Any, Self

from transformers import Trainer, TrainerCallback


class Stepper(TrainerCallback):
    """Runs a trainer in a thread, and holds it between its steps.

    Args:
        trainer: with enough `max_steps`.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._may, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._ending = False
        self._error: BaseException | None = None
        trainer.add_callback(self)
        self._thread = threading.Thread(target=self._run, args=(trainer,), daemon=True)

    def step(self) -> None:
        """Let the trainer take one step, and wait for it."""
        self._may.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        """Start the trainer, up to its first step."""
        self._thread.start()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        """End the trainer after the step that it waits for."""
        self._ending = True
        self._may.release()
        self._thread.join()

    def _run(self, trainer: Trainer) -> None:
        try:
            trainer.train()
        except BaseException as error:
            self._error = error
        finally:
            self._done.release()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Wait for the first turn."""
        return self._wait(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Wait for the next turn."""
        control.should_save = False
        return self._wait(control)

    def _wait(self, control: Any) -> Any:
        self._done.release()
        self._may.acquire()
        control.should_training_stop = self._ending
        return control
