from __future__ import annotations

import ast
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import reverse_codi
from reverse_codi.errors import RecipeError
from reverse_codi.rewards.declare import reward
from reverse_codi.rewards.registry import find, names
from tests.fakes import make_reward_batch

CUSTOM = '''
from __future__ import annotations

from reverse_codi.utils.config import Section
from reverse_codi.rewards.batch import RewardBatch
from reverse_codi import reward


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


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    path = tmp_path / "custom.py"
    path.write_text(CUSTOM)
    return path


def call(name: str, options: dict[str, Any] | None = None) -> Any:
    return find(name, options).function(make_reward_batch(["a", "b"]))


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


def test_a_plain_function_of_a_file_or_module_is_a_reward(
    custom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find(f"{custom}:undeclared")
    assert (found.name, found.worst, found.supervised) == ("undeclared", None, False)
    assert call(f"{custom}:undeclared") == []
    monkeypatch.syspath_prepend(custom.parent)
    assert find("custom:undeclared").worst is None


def test_what_cannot_be_called_is_no_reward(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("number = 3\n\n\ndef f(batch): ...\n")
    with pytest.raises(RecipeError, match=r"'number' of .*bare\.py is an int, 3, which cannot be called; a"):
        find(f"{tmp_path}/bare.py:number")
    with pytest.raises(RecipeError, match=r"bare\.py has no reward function 'g'; it declares f"):
        find(f"{tmp_path}/bare.py:g")


def test_options_are_checked(custom: Path) -> None:
    with pytest.raises(RecipeError, match="options of reward brevity: unknown key 'budgt'; did you mean"):
        find("brevity", {"budgt": 3})
    with pytest.raises(RecipeError, match="plain takes no options; drop value"):
        find(f"{custom}:plain", {"value": 3})
    with pytest.raises(RecipeError, match="untyped: its config is a None; annotate it with a Section"):
        find(f"{custom}:untyped")


@pytest.mark.parametrize("form", ["needs_more:f", "./needs_more.py:f"])
def test_a_users_missing_import_names_the_users_line(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text('"""Needs more."""\nimport a_module_that_is_not_there\n')
    monkeypatch.chdir(tmp_path)
    reported = (
        r"needs_more.* cannot be imported: ModuleNotFoundError at \S*needs_more\.py:2: No module named 'a_mod"
    )
    with pytest.raises(RecipeError, match=reported) as caught:
        find(form)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ("import sys\n\nsys.exit(0)\n", r"SystemExit at \S*bad\.py:3: 0"),
        ("x = 1\ndef f(batch:\n", r"SyntaxError at \S*bad\.py:2: '\(' was never closed"),
        (
            "from reverse_codi import reward\n\n\n@reward(worst=float('nan'))\ndef f(batch): ...\n",
            r"ValueError at \S*bad\.py:4: ",
        ),
        ("import json\n\njson.loads('{')\n", r"JSONDecodeError at \S*bad\.py:3: "),
    ],
)
def test_a_file_that_cannot_be_loaded_names_its_line(content: str, reported: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(content)
    with pytest.raises(RecipeError, match=rf"bad\.py cannot be imported: {reported}"):
        find(f"{tmp_path}/bad.py:f")


SIGNATURES = """
from reverse_codi.utils.config import Section
from reverse_codi import reward


class Options(Section):
    value: float = 1.0


@reward(worst=0.0)
def nothing():
    return []


@reward(worst=0.0)
def two(texts, thoughts):
    return []


@reward(worst=0.0)
def misnamed(batch, options: Options):
    return []


@reward(worst=0.0)
def only_config(config: Options):
    return []


@reward(worst=0.0)
def by_keyword(*, batch):
    return []


@reward(worst=0.0)
class Made:
    def __init__(self, model):
        pass

    def __call__(self, batch):
        return []


@reward(worst=0.0)
class Silent:
    pass


@reward(worst=0.0)
class Short:
    def __call__(self):
        return []


@reward(worst=0.0)
class Fails:
    def __init__(self):
        raise OSError("no server")

    def __call__(self, batch):
        return []


@reward(worst=0.0)
def unknown(batch, config: NoSuchClass):
    return []


@reward(worst=0.0)
def fine(batch, scale=1.0, *more, **others):
    return []
"""


def first_line(content: str, name: str) -> int:
    """Of what is blamed: a decorated function or class, or a class's `__call__`."""
    lines = content.splitlines()
    declared = next(i for i, line in enumerate(lines, 1) if re.match(rf"(def|class) {name}\b", line))
    return declared + 1 if name == "Short" else declared - 1


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("nothing", r"\): nothing\(\) cannot be called with one batch .*; write def nothing\(batch\) or"),
        ("two", r"\): two\(texts, thoughts\) cannot be called with one batch .*'thoughts'"),
        ("misnamed", r"\): misnamed\(batch, options: 'Options'\) cannot .* or def misnamed\(batch, config: "),
        (
            "only_config",
            r"\): only_config\(config: 'Options'\) cannot be called with one batch and its config",
        ),
        ("by_keyword", r"\): by_keyword\(\*, batch\) cannot"),
        ("Made", r"\): Made\(model\) cannot be called with options alone .*; write def __init__\(self\) or"),
        ("Silent", r"\): instances of Silent cannot be called; give the class a __call__\(self, batch\)"),
        (
            "Short",
            r"\): Short\.__call__\(self\) cannot be called with one batch .*def __call__\(self, batch\)",
        ),
        ("Fails", r"\) cannot be made: OSError at \S*own\.py:59: no server"),
        ("unknown", r"\): its annotations cannot be resolved: name 'NoSuchClass'"),
    ],
)
def test_what_cannot_be_called_with_a_batch_is_refused_with_file_line_and_signature(
    name: str, reported: str, tmp_path: Path
) -> None:
    content = "from __future__ import annotations\n" + SIGNATURES
    (tmp_path / "own.py").write_text(content)
    place = rf"{tmp_path}/own\.py:{first_line(content, name)}"
    with pytest.raises(RecipeError, match=rf"reward {name} \({place}{reported}"):
        find(f"{tmp_path}/own.py:{name}")
    assert find(f"{tmp_path}/own.py:fine").function(make_reward_batch(["a", "b"])) == []


@pytest.mark.parametrize("name", ["a/b", "", "two words", "x\n"])
def test_a_name_is_one_word_as_it_is_a_part_of_keys(name: str) -> None:
    with pytest.raises(ValueError, match="write letters, digits and"):
        reward(worst=0.0, name=name)(lambda batch: [])


def helped(folder: Path, helper: str, value: float) -> str:
    """A reward file that imports a module beside it, when it is loaded and when it is called."""
    folder.mkdir()
    (folder / f"{helper}.py").write_text(f"VALUE = {value}\n")
    (folder / f"{helper}_late.py").write_text(f"VALUE = {value}\n")
    (folder / "mine.py").write_text(
        f"import {helper}\nfrom reverse_codi import reward\n\n\n@reward(worst=0.0)\ndef mine(batch):\n"
        f"    from {helper}_late import VALUE\n\n    return [{helper}.VALUE + VALUE] * len(batch.texts)\n"
    )
    return f"{folder}/mine.py:mine"


@pytest.fixture
def same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_file_imports_its_neighbours_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_path: None
) -> None:
    first = helped(tmp_path / "one", "helper_one", 0.25)
    second = helped(tmp_path / "two", "helper_two", 1.0)
    monkeypatch.chdir("/")
    one, two = find(first), find(second)
    for _ in range(2):  # each has its own, also late and again
        assert one.function(make_reward_batch(["a", "b"])) == [0.5, 0.5]
        assert two.function(make_reward_batch(["a", "b"])) == [2.0, 2.0]
        one, two = find(first), find(second)


def test_a_neighbour_that_python_would_not_find_is_refused(tmp_path: Path, same_path: None) -> None:
    assert find(helped(tmp_path / "three", "helper_three", 0.25)).name == "mine"
    other = helped(tmp_path / "four", "helper_three", 1.0)
    with pytest.raises(
        RecipeError, match=r"four/mine\.py imports 'helper_three' .*three/helper_three\.py; rename"
    ):
        find(other)
    (tmp_path / "four/helper_three.py").write_text("VALUE = 0.25\n")  # a copy is as good
    (tmp_path / "four/helper_three_late.py").write_text("VALUE = 0.25\n")
    assert call(other) == [0.5, 0.5]
    with pytest.raises(
        RecipeError, match=r"imports 'json' and \S+five/json\.py lies beside it.*json/__init__\.py"
    ):
        find(helped(tmp_path / "five", "json", 1.0))


def test_a_module_beside_the_driver_is_found_in_an_actor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_path: None
) -> None:
    (tmp_path / "own_module.py").write_text(CUSTOM)
    monkeypatch.chdir("/")
    with pytest.raises(RecipeError, match="no module 'own_module'"):
        find("own_module:plain")
    assert find("own_module:plain", root=str(tmp_path)).name == "plain"


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
        "from reverse_codi import reward\n\n\n"
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
