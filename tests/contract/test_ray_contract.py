"""What we lean on in Ray that it does not document."""

from __future__ import annotations

import inspect

import pytest
from ray._private import process_watcher, worker

from reverse_codi.processes import ray_session


def test_the_last_words_of_a_raylet_can_be_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'msg = "Raylet is terminated. "' in inspect.getsource(process_watcher.report_raylet_error_logs)
    assert "print_to_stdstream(" in inspect.getsource(worker.listen_error_messages)

    def sent(message: str) -> str:
        batch = {"lines": [message], "pid": "raylet", "is_err": False}
        worker.print_to_stdstream(batch, ignore_prefix=False)
        return capsys.readouterr().out

    died = "Raylet is terminated. Termination is unexpected. Last 20 lines of the Raylet logs:\n    one"
    monkeypatch.setattr(worker.stdout_deduplicator, "skip_re", None)
    assert "one" in sent(died)
    monkeypatch.setattr(worker.stdout_deduplicator, "skip_re", ray_session._LAST_WORDS)
    assert sent(f"{died} more") == "" and "out of memory" in sent("(raylet) out of memory")
