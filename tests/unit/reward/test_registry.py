from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest

import reverse_codi
from reverse_codi.config import RecipeError
from reward.registry import find, names, reward

CUSTOM = '''
from __future__ import annotations

from reverse_codi.config import Section
from reverse_codi.rewarding import RewardBatch
from reward import reward


class Options(Section):
    value: float = 1.0


@reward(worst=-5.0, name="fixed")
def constant(batch: RewardBatch, config: Options) -> list[float | None]:
    """Always the same.

    More words.
    """
    return [config.value] * len(batch.texts)


@reward(worst=0.0)
class Loaded:
    """Holds something."""

    def __init__(self, config: Options) -> None:
        self.value = 10 * config.value

    def __call__(self, batch: RewardBatch) -> list[float | None]:
        return [self.value] * len(batch.texts)


@reward(worst=0.0)
def plain(batch: RewardBatch) -> list[float | None]:
    return [0.0] * len(batch.texts)


@reward(worst=0.0)
def untyped(batch, config):
    return [0.0] * len(batch.texts)


def undeclared(batch):
    return []
'''


class TwoTexts:
    texts = ("a", "b")


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    path = tmp_path / "custom.py"
    path.write_text(CUSTOM)
    return path


def call(name: str, options: dict[str, Any] | None = None) -> Any:
    return find(name, options).function(TwoTexts())  # type: ignore[arg-type]


def test_builtin_names() -> None:
    readable = {"brevity", "fluency", "format", "novelty"}
    near = {"answer_preserved", "contrastive", "hidden_match", "next_token_match", "reconstruction"}
    assert set(names()) == near | readable | {"gold_claim"}
    for name, record in names().items():
        assert find(name).worst == record.worst < 0
        assert record.description


def test_file(custom: Path) -> None:
    record = find(f"{custom}:constant")
    assert (record.name, record.worst, record.description) == ("fixed", -5.0, "Always the same.")
    assert call(f"{custom}:constant") == [1.0, 1.0]
    assert call(f"{custom}:constant", {"value": 3.0}) == [3.0, 3.0]


def test_relative_file(custom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(custom.parent)
    assert call("./custom.py:plain") == [0.0, 0.0]


def test_class_is_made_once_with_its_config(custom: Path) -> None:
    assert call(f"{custom}:Loaded", {"value": 2.0}) == [20.0, 20.0]


def test_module(custom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(custom.parent)
    assert call("custom:plain") == [0.0, 0.0]


def test_entry_point(custom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(custom.parent)
    info = custom.parent / "someone_else-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone-else\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reverse_codi.rewards]\ntheirs = custom:constant\n")
    assert call("theirs", {"value": 4.0}) == [4.0, 4.0]
    with pytest.raises(RecipeError, match="did you mean 'theirs'"):
        find("their")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hiden_match", "did you mean 'hidden_match'"),
        (
            "zzz",
            "known are answer_preserved, brevity, .*novelty, reconstruction; for your own",
        ),
        ("nowhere_at_all:f", "no module 'nowhere_at_all'"),
        ("reward.brevity:brevty", r"brevity\.py has no reward function 'brevty'; it declares brevity"),
        ("./nowhere.py:f", r"no reward file './nowhere\.py': looked for /"),
    ],
)
def test_wrong_name_says_what_is_near(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        find(name)


def test_undeclared_function_is_told_to_declare_worst(custom: Path) -> None:
    with pytest.raises(RecipeError, match=r"'undeclared' of .*@reward\(worst="):
        find(f"{custom}:undeclared")


def test_options_are_checked(custom: Path) -> None:
    with pytest.raises(RecipeError, match="options of reward brevity: unknown key 'budgt'; did you mean"):
        find("brevity", {"budgt": 3})
    with pytest.raises(RecipeError, match="plain takes no options; drop value"):
        find(f"{custom}:plain", {"value": 3})
    with pytest.raises(RecipeError, match="untyped: its config is a None; annotate it with a Section"):
        find(f"{custom}:untyped")


def test_a_users_missing_import_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        find("needs_more:f")


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_worst_must_be_finite(worst: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        reward(worst=worst)


@pytest.mark.parametrize("layers", ["last", "1;2", "-1", "1, 2"])
def test_layers_are_written_as_in_a_read_spec(layers: str) -> None:
    with pytest.raises(ValueError, match="write 'all', 'final' or numbers joined by commas"):
        reward(worst=0.0, layers=layers)


def test_what_is_declared_comes_with_the_function(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(
        "from reward import reward\n\n\n"
        "@reward(worst=0.0, slow=True, layers='0,2')\ndef waits(batch):\n    return []\n\n\n"
        "@reward(worst=0.0)\nasync def asks(batch):\n    return []\n\n\n"
        "@reward(worst=0.0)\nclass Judge:\n    async def __call__(self, batch):\n        return []\n"
    )
    waits, asks, judge = (find(f"{tmp_path}/judge.py:{name}") for name in ("waits", "asks", "Judge"))
    assert (waits.layers, asks.layers) == ("0,2", "")
    assert waits.beside and asks.beside and judge.beside
    assert not find("brevity").beside
    with pytest.raises(RecipeError, match=r"looked for /\S+judgee\.py; did you mean 'judge\.py'"):
        find(f"{tmp_path}/judgee.py:waits")


def test_reverse_codi_does_not_import_reward() -> None:
    for path in Path(reverse_codi.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "reward" for name in named), path
