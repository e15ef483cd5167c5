"""What the machine must offer, found out in seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reverse_codi.processes import environment
from reverse_codi.processes.environment import (
    LONGEST_SOCKET,
    SESSION,
    MachineError,
    check_ray,
    settle_home,
    writable,
)

CACHES = ("HF_HOME", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "WANDB_CACHE_DIR", "VLLM_CACHE_ROOT")
# No file can be made in it, not even by root.
READ_ONLY = "/proc"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No Ray, no cluster, no folder is named; what a test sets is taken back."""
    for name in list(os.environ):
        if name.startswith(("RAY_", "WANDB_", "HF_", "VLLM_", "TRITON_")) or name.endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    return monkeypatch


@pytest.fixture
def listening() -> Iterator[int]:
    """A gRPC server, as Ray's head and its client server are."""
    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# ---- Ray


def test_a_cluster_that_does_not_answer_is_one_line_in_seconds(bare: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    bare.setenv("RAY_ADDRESS", address)
    start = time.perf_counter()
    with pytest.raises(
        MachineError, match=rf"RAY_ADDRESS = '{address}', where no Ray answers .*unset"
    ) as error:
        check_ray()
    assert time.perf_counter() - start < 6 and "\n" not in str(error.value)
    bare.setenv("RAY_ADDRESS", f"ray://{address}")
    with pytest.raises(MachineError, match="no Ray answers"):
        check_ray()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_program_that_listens_there_is_no_cluster(bare: pytest.MonkeyPatch, says: bytes) -> None:
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(says)
            connection.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        bare.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(MachineError, match="no Ray answers"):
            check_ray()
        thread.join()


def test_a_program_that_says_nothing_is_not_waited_for_long(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(environment, "PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        bare.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(MachineError, match=r"no Ray answers \(timed out\)"):
            check_ray()
        bare.setenv("RAY_USE_TLS", "1")
        check_ray()


@pytest.mark.parametrize("address", ["nonsense", "host:port", "http://127.0.0.1:8265", "127.0.0.1"])
def test_what_is_no_address_is_called_so(bare: pytest.MonkeyPatch, address: str) -> None:
    bare.setenv("RAY_ADDRESS", address)
    with pytest.raises(MachineError, match="is no address of a Ray cluster: set RAY_ADDRESS to HOST:6379"):
        check_ray()


def test_a_cluster_that_answers_passes_and_no_folder_is_asked_for(
    bare: pytest.MonkeyPatch, listening: int
) -> None:
    bare.setenv("TMPDIR", READ_ONLY)
    for address in (f"127.0.0.1:{listening}", f"ray://127.0.0.1:{listening}"):
        bare.setenv("RAY_ADDRESS", address)
        check_ray()


def test_an_empty_address_is_none(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("RAY_TMPDIR", "/tmp")
    bare.setattr(environment, "running_cluster", lambda: None)
    bare.setenv("RAY_ADDRESS", " ")
    check_ray()
    assert "RAY_ADDRESS" not in os.environ


def test_auto_needs_a_cluster_here(bare: pytest.MonkeyPatch, tmp_path: Path, listening: int) -> None:
    bare.setenv("RAY_TMPDIR", str(tmp_path))
    bare.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(MachineError, match="no Ray runs here"):
        check_ray()
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(f"127.0.0.1:{listening}\n")
    check_ray()


def test_a_cluster_that_died_without_ray_stop_is_named(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray itself would join it, RAY_ADDRESS or not, and wait."""
    bare.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")
    with pytest.raises(MachineError, match=r"ray_current_cluster names a cluster at .*`ray stop`"):
        check_ray()


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_sockets_is_refused(
    bare: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    bare.delenv("TMPDIR", raising=False)
    folder = tmp_path / ("x" * LONGEST_SOCKET)
    folder.mkdir()
    bare.setenv(name, str(folder))
    with pytest.raises(
        MachineError, match=rf"{name} = .* bytes long, .* allow {LONGEST_SOCKET - SESSION}: set"
    ):
        check_ray()
    bare.setenv(name, "/tmp/" + "é" * 20)  # 45 bytes, 25 letters
    with pytest.raises(MachineError, match="is 45 bytes long"):
        check_ray()


def test_the_sockets_name_is_as_long_as_rays() -> None:
    """Its session's name holds date, time and process id."""
    import datetime

    from ray._private import ray_constants, utils

    when = datetime.datetime.today().strftime("%Y-%m-%d_%H-%M-%S_%f")
    assert len(f"/ray/session_{when}_1234567/sockets/plasma_store") == SESSION
    utils.validate_socket_filepath("/" + "x" * (LONGEST_SOCKET - 1))
    with pytest.raises(OSError, match="cannot exceed"):
        utils.validate_socket_filepath("/" + "x" * LONGEST_SOCKET)
    assert ray_constants  # the module is there


def test_a_folder_that_cannot_be_written_to_is_refused(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("RAY_TMPDIR", READ_ONLY)
    with pytest.raises(MachineError, match="RAY_TMPDIR = '/proc' cannot be written to: set RAY_TMPDIR"):
        check_ray()


def test_where_ray_runs_nothing_is_asked(bare: pytest.MonkeyPatch) -> None:
    bare.setattr("ray.is_initialized", lambda: True)
    bare.setenv("RAY_ADDRESS", "nonsense")
    check_ray()


# ---- home


def test_writable_is_tried(tmp_path: Path) -> None:
    assert writable(tmp_path) and writable(tmp_path / "a/b")
    assert not (tmp_path / "a").exists()
    assert not writable(READ_ONLY) and not writable("/proc/nowhere/.cache")


def test_a_home_that_can_be_written_to_is_left_alone(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    assert settle_home() == "" and dict(os.environ) == before


def test_caches_go_elsewhere_where_home_is_read_only(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setattr("tempfile.tempdir", str(tmp_path))
    bare.setenv("HOME", "/proc/nowhere")
    bare.setenv("VLLM_CACHE_ROOT", "/mine")
    bare.setattr(os, "environ", os.environ.copy())
    message = settle_home()
    assert message.startswith("the home folder /proc/nowhere cannot be written to: caches go to ")
    assert "\n" not in message and "VLLM_CACHE_ROOT" not in message
    assert os.environ["VLLM_CACHE_ROOT"] == "/mine"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64 and os.environ["RAY_AUTH_TOKEN"] not in message
    assert os.environ["HF_HOME"].startswith(str(tmp_path)) and "HF_DATASETS_CACHE" not in os.environ
    assert settle_home() == ""  # as in Ray's workers, which inherit it


def test_a_read_only_cache_of_models_is_still_read(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".cache/huggingface/hub").mkdir(parents=True)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("token")
    bare.setenv("HOME", str(tmp_path))
    bare.setattr(environment, "writable", lambda folder: False)
    bare.setattr(os, "environ", os.environ.copy())
    settle_home()
    assert "HF_HOME" not in os.environ and "HF_DATASETS_CACHE" in os.environ
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.long
def test_it_happens_before_the_libraries_look(tmp_path: Path) -> None:
    """A CSV file goes through Hugging Face's cache, which the home folder cannot hold."""
    (tmp_path / "rows.csv").write_text("question,answer\nq,1\n")
    code = (
        "from reverse_codi import TraceStore; from datasets import config, load_dataset; "
        f"print(len(load_dataset('csv', data_files={str(tmp_path / 'rows.csv')!r}, split='train')));"
        "print(config.HF_DATASETS_CACHE)"
    )
    changed = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=changed | {"HOME": "/proc/nowhere", "TMPDIR": str(tmp_path), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    rows, cache = ran.stdout.split()[-2:]
    assert rows == "1" and cache.startswith(str(tmp_path))
    assert ran.stderr.count("cannot be written to") == 1
