from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.command import run_verb
from reverse_codi.utils.config import Section, override, read_yaml, validated


class Inner(Section):
    rate: float = Field(default=0.5, gt=0, le=1)
    kind: str


class Outer(Section):
    inner: Inner
    steps: int = 1


def test_an_unknown_key_names_the_nearest_valid_one() -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml: unknown key 'inner\.rat'; did you mean 'inner\.rate'\?"):
        validated(Outer, {"inner": {"kind": "a", "rat": 1}}, "r.yaml")


def test_an_unknown_key_like_no_other_lists_all_of_its_section() -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'inner\.zzz'; known keys: rate, kind$"):
        validated(Outer, {"inner": {"kind": "a", "zzz": 1}}, "r.yaml")


def test_a_value_out_of_range_names_key_value_and_range() -> None:
    with pytest.raises(RecipeError, match=r"inner\.rate = 3\.0: input should be less than or equal to 1"):
        validated(Outer, {"inner": {"kind": "a", "rate": 3.0}}, "r.yaml")


def test_every_problem_is_reported_at_once_and_a_missing_key_is_one() -> None:
    with pytest.raises(RecipeError) as caught:
        validated(Outer, {"inner": {"rate": 0}, "steps": "many"}, "r.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("'inner.kind' is missing" in line for line in lines)
    assert any("steps = 'many'" in line for line in lines)


def test_overrides_reach_into_sections_and_leave_the_rest() -> None:
    values = {"inner": {"kind": "a", "rate": 0.5}, "steps": 1}
    merged = override(values, ["--inner.rate", "1e-1", "--steps=7", "--new.list", "[1, 2]"])
    assert merged["inner"] == {"kind": "a", "rate": "1e-1"}  # YAML 1.1; pydantic makes it a float
    assert (merged["steps"], merged["new"]) == (7, {"list": [1, 2]})
    assert values == {"inner": {"kind": "a", "rate": 0.5}, "steps": 1}
    assert validated(Inner, merged["inner"], "").rate == 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steps", "1"], "'steps' is no option"),
        (["--steps"], "--steps has no value"),
        (["--steps", "--other", "1"], "--steps has no value"),
        (["--steps", "[1"], r"steps = '\[1' is not YAML"),
    ],
)
def test_a_malformed_override_is_named(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        override({}, words)


def test_a_missing_recipe_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("steps: 1")
    with pytest.raises(RecipeError, match=r"no recipe at .*tinny\.yaml; did you mean .*tiny\.yaml\?"):
        read_yaml(tmp_path / "tinny.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "grpo: {steps: 1}\ntask: {name: graph}\ngrpo: {samples: 4}\n",
            "key 'grpo' stands twice, in lines 1 and 3",
        ),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "key 'b' stands twice, in lines 2 and 4; join them into one"),
        ("a: [{b: 1, 'b': 2}]", "key 'b' stands twice, in lines 1 and 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=f"r.yaml: {message}"):
        read_yaml(tmp_path / "r.yaml")


def test_a_merged_key_may_be_written_again_and_an_option_may_not_repeat_one(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("a: &a {k: 1, m: 1}\nb: &b\n  <<: *a\n  k: 2\nc: {<<: *b, k: 3}\n")
    assert read_yaml(tmp_path / "r.yaml")["c"] == {"k": 3, "m": 1}
    with pytest.raises(RecipeError, match=r"a\.b = .*: key 'c' stands twice"):
        override({}, ["--a.b", "{c: 1, c: 2}"])


@pytest.mark.parametrize("rate", [".nan", ".inf"])
def test_no_value_of_a_recipe_is_nan_or_infinite(rate: str) -> None:
    class Open(Section):
        rate: float = 1.0

    with pytest.raises(RecipeError, match=r"rate = (nan|inf): input should be a finite number"):
        validated(Open, override({}, ["--rate", rate]), "r.yaml")


@pytest.mark.parametrize(("text", "message"), [("- 1", "holds a list"), ("a: [", "is not YAML")])
def test_another_kind_of_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_yaml(tmp_path / "r.yaml")


def test_a_command_tells_what_is_wrong_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(error: Exception) -> Callable[[], None]:
        def main() -> None:
            raise error

        return main

    with pytest.raises(SystemExit) as ended:
        run_verb(fails(RecipeError("grpo.samples = 1")))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: grpo.samples = 1\n"
    with pytest.raises(SystemExit, match=r"^error: no room$"):  # Python prints it and ends with status 1
        run_verb(fails(UserError("no room")))
    run_verb(lambda: None)


@pytest.mark.parametrize("word", ["true", "yes", "on", "false"])
def test_a_number_is_not_true_or_false(word: str) -> None:
    class Numbers(Section):
        steps: int = 1
        rate: float | None = None
        flag: bool = False
        either: int | bool = 0

    for key in ("steps", "rate"):
        with pytest.raises(
            RecipeError, match=rf"{key} = (True|False): .*a number is wanted, not true or false"
        ):
            validated(Numbers, override({}, [f"--{key}", word]), "r.yaml")
    assert validated(Numbers, override({}, ["--flag", word]), "r.yaml").flag is (word != "false")
    assert validated(Numbers, override({}, ["--either", word]), "r.yaml").either is (word != "false")


def test_many_problems_are_counted_and_long_keys_are_cut() -> None:
    with pytest.raises(RecipeError) as told:
        validated(Inner, {f"{'k' * 1_000}{i}": 1 for i in range(50)}, "r.yaml")
    lines = str(told.value).splitlines()
    assert len(lines) == 21 and lines[-1].endswith("more") and max(map(len, lines)) < 500


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--log.report_to=[[wandb]]", "log.report_to"),
        ("--task.options={name: graph}", "task 'arithmetic' has no option 'name'"),
        ("--reinforce=[{grpo: {}, times: 1000000000}]", "less than or equal to 1000"),
    ],
)
def test_a_value_that_python_would_stumble_over_is_named(option: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(["tiny", option])


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    def main() -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "rows.jsonl"))

    with pytest.raises(SystemExit, match=r"error: .*Permission denied: '.*rows\.jsonl'"):
        run_verb(main)
