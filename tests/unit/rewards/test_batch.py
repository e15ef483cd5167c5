from __future__ import annotations

import asyncio
import math
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.batch import RewardBatch, RewardError
from reverse_codi.rewards.calls import run_rewards
from reverse_codi.rewards.candidates import StepTexts
from reverse_codi.rewards.declare import RewardSpec
from tests.tiny import make_batch, make_rows, make_table_metric

SITE = Site("h", 1)
TEXTS = ["one", "  ", "two words", "cut"]


def batch(**others: Any) -> RewardBatch:
    finished = [True, True, True, False]
    rows = make_rows(TEXTS, torch.arange(8.0).view(4, 2), SITE, **{"finished": finished, **others})
    return make_batch(rows, make_table_metric({"one": [1.0, 0.0]}, SITE, default=[0.0, 1.0]))


def returning(*values: Any, worst: float = -1.0) -> RewardSpec:
    return RewardSpec("fixed", lambda batch: list(values), worst)


def test_failed_rows_get_worst_and_are_not_shown() -> None:
    shown: list[RewardBatch] = []

    def spy(batch: RewardBatch) -> list[float]:
        shown.append(batch)
        return [0.5, 0.25]

    assert run_rewards([RewardSpec("spy", spy, -3.0)], batch()) == {"spy": [0.5, -3.0, 0.25, -3.0]}
    assert len(shown) == 1
    assert shown[0].texts == ["one", "two words"]
    assert shown[0].targets.tolist() == [[0.0, 1.0], [4.0, 5.0]]
    assert shown[0].predicted.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_every_function_runs_once_and_what_runs_is_reported() -> None:
    reported: list[list[str]] = []
    functions = [RewardSpec(name, lambda batch: [0.0] * len(batch), -1.0) for name in "ab"]
    slow = RewardSpec("slow", lambda batch: [0.5] * len(batch), -1.0, slow=True)
    scores = run_rewards([slow, *functions], batch(), reported.append)
    assert reported == [["a", "slow"], ["b", "slow"], ["slow"]]
    assert list(scores) == ["slow", "a", "b"]  # TRL's columns are in the recipe's order
    assert scores["slow"] == [0.5, -1.0, 0.5, -1.0]


def test_no_well_formed_row_calls_nothing() -> None:
    def never(batch: RewardBatch) -> list[float]:
        raise AssertionError

    scores = run_rewards([RewardSpec("never", never, -2.0)], batch(finished=[False] * 4))
    assert scores == {"never": [-2.0] * 4}


def test_none_and_numpy_floats_pass() -> None:
    scores = run_rewards([returning(None, np.float32(0.5))], batch())
    assert scores == {"fixed": [None, -1.0, 0.5, -1.0]}


async def slow(batch: RewardBatch) -> list[float]:
    await asyncio.sleep(0)
    return [0.5] * len(batch)


def test_async_functions_are_awaited() -> None:
    assert run_rewards([RewardSpec("slow", slow, -1.0)], batch())["slow"] == [0.5, -1.0, 0.5, -1.0]


def test_async_functions_are_awaited_inside_a_running_loop() -> None:
    async def notebook() -> list[float | None]:
        return run_rewards([RewardSpec("slow", slow, -1.0)], batch())["slow"]

    assert asyncio.run(notebook()) == [0.5, -1.0, 0.5, -1.0]


def test_slow_and_async_functions_run_beside_the_others() -> None:
    """Each waits for the next one to have begun, so one after the other they would never end."""
    begun = {name: threading.Event() for name in ("async", "thread", "plain")}

    def waiting(own: str, other: str) -> Callable[[RewardBatch], list[float]]:
        def function(batch: RewardBatch) -> list[float]:
            begun[own].set()
            assert begun[other].wait(20)
            return [0.5] * len(batch)

        return function

    async def remote(batch: RewardBatch) -> list[float]:
        return await asyncio.to_thread(waiting("async", "thread"), batch)

    functions = [
        RewardSpec("async", remote, -1.0),
        RewardSpec("thread", waiting("thread", "plain"), -1.0, slow=True),
        RewardSpec("plain", waiting("plain", "async"), -1.0),
    ]
    assert [function.beside for function in functions] == [True, True, False]
    assert {tuple(column) for column in run_rewards(functions, batch()).values()} == {(0.5, -1.0, 0.5, -1.0)}


class Judge:
    """A reward with state whose call is async."""

    calls = 0

    async def __call__(self, batch: RewardBatch) -> list[float]:
        self.calls += 1
        return [float(self.calls)] * len(batch)


def test_an_object_may_be_async_and_keeps_its_state() -> None:
    judge = RewardSpec("judge", Judge(), -1.0)
    assert judge.beside
    assert [run_rewards([judge], batch())["judge"][0] for _ in range(2)] == [1.0, 2.0]


@pytest.mark.parametrize("slow", [False, True])
def test_a_function_that_hangs_is_named_with_the_row_that_it_hangs_on(slow: bool) -> None:
    def waits(batch: RewardBatch) -> list[float]:
        time.sleep(60 * ("two words" in batch.texts))
        return [0.0] * len(batch)

    hung = RewardSpec("hung", waits, -1.0, slow=slow, timeout_s=0.4)
    started = time.monotonic()
    with pytest.raises(
        RewardError, match=r"'hung': not done after 0\.4 s on 2 texts; fix it.*row 2, text 'two words'"
    ):
        run_rewards([hung], batch())
    assert time.monotonic() - started < 10


def test_a_function_that_is_merely_slow_blames_no_row() -> None:
    def waits(batch: RewardBatch) -> list[float]:
        time.sleep(0.4 * len(batch))
        return [0.0] * len(batch)

    with pytest.raises(RewardError, match=r"not done after 0\.6 s on 2 texts.*first text: 'one'") as caught:
        run_rewards([RewardSpec("slow", waits, -1.0, timeout_s=0.6)], batch())
    assert caught.value.row is None


async def blocked(batch: RewardBatch) -> list[float]:
    time.sleep(60)
    return []


def test_an_async_function_that_blocks_its_loop_is_named_too() -> None:
    with pytest.raises(RewardError, match=r"'blocked': not done after 0\.2 s"):
        run_rewards([RewardSpec("blocked", blocked, -1.0, timeout_s=0.2)], batch())


def test_the_row_that_breaks_a_function_is_found() -> None:
    def divides(batch: RewardBatch) -> list[float]:
        return [1 / (len(text) - len("two words")) for text in batch.texts]

    with pytest.raises(
        RewardError, match=r"'f': raised ZeroDivisionError at .*row 2, text 'two words'"
    ) as caught:
        run_rewards([RewardSpec("f", divides, -9.0)], batch())
    assert caught.value.row == 2


def test_what_breaks_on_no_row_alone_names_the_first_text() -> None:
    def alone(batch: RewardBatch) -> list[float]:
        if len(batch) > 1:
            raise ValueError("one at a time")
        return [0.0]

    with pytest.raises(RewardError, match=r"on 2 texts: one at a time \(the first text: 'one'\)$") as caught:
        run_rewards([RewardSpec("alone", alone, -9.0)], batch())
    assert caught.value.row is None


def test_a_slow_function_that_breaks_is_asked_for_no_more_rows_than_there_are() -> None:
    asked: list[int] = []

    def broken(batch: RewardBatch) -> list[float]:
        asked.append(len(batch))
        if "two words" in batch.texts:
            raise OSError("no answer")
        return [0.0] * len(batch)

    with pytest.raises(RewardError, match=r"raised OSError.*row 2, text 'two words'"):
        run_rewards([RewardSpec("broken", broken, -1.0, slow=True)], batch())
    assert asked == [2, 1, 1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_value_names_reward_row_and_text(value: float) -> None:
    with pytest.raises(RewardError, match=r"'fixed'.*row 2, text 'two words'") as caught:
        run_rewards([returning(0.0, value)], batch())
    assert (caught.value.name, caught.value.row, caught.value.text) == ("fixed", 2, "two words")


def test_wrong_length() -> None:
    with pytest.raises(RewardError, match="'fixed': returned 3 values for 2 texts"):
        run_rewards([returning(0.0, 0.0, 0.0)], batch())
    leaves_out = RewardSpec("short", lambda batch: [0.0 for text in batch.texts if " " not in text], -1.0)
    with pytest.raises(RewardError, match=r"'short': returned 1 values for 2 texts.*row 2, text 'two words'"):
        run_rewards([leaves_out], batch())


@pytest.mark.parametrize("value", ["0.5", True, torch.tensor(0.5)])
def test_a_value_that_is_no_float(value: Any) -> None:
    with pytest.raises(RewardError, match=rf"returned a {type(value).__name__}.*row 0, text 'one'"):
        run_rewards([returning(value, 0.0)], batch())


def test_a_value_below_worst_would_make_failing_pay() -> None:
    with pytest.raises(RewardError, match=r"-1\.5, below its worst, -1.*row 2"):
        run_rewards([returning(0.0, -1.5)], batch())
    rounded = torch.tensor(-0.1).item()  # float32 lies a little below
    assert rounded < -0.1
    run_rewards([returning(rounded, 0.0, worst=-0.1)], batch())


@pytest.mark.parametrize(
    ("result", "reported"),
    [
        ({"content": [0.5], "form": [0.5]}, "a dict with the keys 'content', 'form'"),
        (dict.fromkeys("abcdefg", 0.0), "a dict with the keys 'a', 'b', 'c', 'd', ..."),
        ("01", "a str, '01'"),
        (b"01", "a bytes, b'01'"),
        ({0.0, 1.0}, "a set"),
        ((value for value in (0.0, 1.0)), "a generator"),
        (map(float, (0, 1)), "a map"),
        (None, "None"),
        (0.5, "a float, 0.5"),
        (True, "a bool, True"),
        (np.float32(0.5), "a float32, "),
        (torch.tensor(0.5), "a Tensor of shape []"),
        (torch.zeros(2, 1), "a Tensor of shape [2, 1]"),
        (np.zeros((1, 2)), "a ndarray of shape [1, 2]"),
    ],
)
def test_what_is_no_list_of_values_is_named_with_what_is_expected(result: Any, reported: str) -> None:
    with pytest.raises(RewardError) as caught:
        run_rewards([RewardSpec("odd", lambda batch: result, -1.0)], batch())
    said = str(caught.value)
    assert said.startswith(f"reward 'odd': returned {reported}")
    assert said.endswith("; return a list of 2 values, one for each text, each a float or None")


async def generates(batch: RewardBatch) -> Any:
    for _ in batch.texts:
        yield 0.0


def test_an_async_generator_is_none_either() -> None:
    with pytest.raises(RewardError, match="returned an async_generator; return a list of 2 values"):
        run_rewards([RewardSpec("generates", generates, -1.0)], batch())


@pytest.mark.parametrize(
    "result",
    [
        torch.tensor([0.5, 0.25]),
        torch.tensor([0.5, 0.25], dtype=torch.bfloat16),
        torch.tensor([0.5, 0.25], requires_grad=True),
        np.array([0.5, 0.25], np.float16),
        np.array([0.5, 0.25], object),
        (0.5, np.float64(0.25)),
    ],
)
def test_one_number_a_text_is_taken_from_tensors_arrays_and_tuples(result: Any) -> None:
    assert run_rewards([RewardSpec("fine", lambda batch: result, -1.0)], batch())["fine"] == [
        0.5, -1.0, 0.25, -1.0
    ]  # fmt: skip


@pytest.mark.parametrize(
    "result", [torch.tensor([True, False]), np.array([1j, 2j]), np.array(["0.5", "1"]), [np.bool_(True), 0.0]]
)
def test_arrays_of_what_is_no_number_are_refused(result: Any) -> None:
    with pytest.raises(
        RewardError, match=r"'odd': returned a \w+, .*for a text; return floats or None.*row 0"
    ):
        run_rewards([RewardSpec("odd", lambda batch: result, -1.0)], batch())


@pytest.mark.parametrize("ending", [SystemExit(0), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("slow", [False, True])
def test_what_would_end_the_process_is_an_error_with_row_and_line(ending: BaseException, slow: bool) -> None:
    def ends(batch: RewardBatch) -> list[float]:
        if "two words" in batch.texts:
            raise ending
        return [0.0] * len(batch)

    reported = (
        rf"'ends': raised {type(ending).__name__} at \S*test_batch\.py:\d+ on 2 texts: .*"
        r"raise an Exception, .* instead of ending the process \(row 2, text 'two words'\)"
    )
    with pytest.raises(RewardError, match=reported):
        run_rewards([RewardSpec("ends", ends, -1.0, slow=slow)], batch())


def test_the_line_is_the_users_where_ours_raised() -> None:
    def asks_wrongly(batch: RewardBatch) -> list[float]:
        batch.metric.map_of(Site("h", 7))
        return [0.0] * len(batch)

    line = asks_wrongly.__code__.co_firstlineno + 1
    with pytest.raises(RewardError, match=rf"raised KeyError at \S+test_batch\.py:{line} on 2 texts"):
        run_rewards([RewardSpec("asks", asks_wrongly, -1.0)], batch())


def test_what_is_logged_is_under_the_rewards_name() -> None:
    """Else `step` or `loss` would take the place of the run's own, and two rewards' figures be mixed."""
    logged: dict[str, list[float]] = {}

    def logs(value: float) -> Callable[[RewardBatch], list[float]]:
        def function(batch: RewardBatch) -> list[float]:
            for name in ("step", "loss", "rollout/match"):
                batch.log(name, value)
            return [0.0] * len(batch)

        return function

    shown = replace(batch(), log=lambda name, value: logged.setdefault(name, []).append(value))
    run_rewards([RewardSpec("a", logs(1.0), -1.0), RewardSpec("step", logs(2.0), -1.0, slow=True)], shown)
    assert logged == {
        f"reward/{reward}/{name}": [value]
        for reward, value in (("a", 1.0), ("step", 2.0))
        for name in ("step", "loss", "rollout/match")
    }


@pytest.mark.parametrize(("name", "value"), [("", 1.0), (None, 1.0), ("x", math.inf), ("x", "0.5")])
def test_what_cannot_be_logged_names_the_users_line(name: Any, value: Any) -> None:
    def logs(batch: RewardBatch) -> list[float]:
        batch.log(name, value)
        return [0.0] * len(batch)

    with pytest.raises(RewardError, match=r"'logs': raised (Type|Value)Error at \S+test_batch\.py:\d+ on"):
        run_rewards([RewardSpec("logs", logs, -1.0)], batch())


def test_a_function_that_raises_is_named_with_its_line() -> None:
    def broken(batch: RewardBatch) -> list[float]:
        raise KeyError("no such claim")

    message = r"'broken': raised KeyError at .*test_batch\.py:\d+ on 2 texts"
    with pytest.raises(RewardError, match=message) as caught:
        run_rewards([RewardSpec("broken", broken, -1.0)], batch())
    assert isinstance(caught.value.__cause__, KeyError)


def test_reward_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RewardError("name", "problem", 3, "text")))
    assert str(error) == "reward 'name': problem (row 3, text 'text')"
    assert error.row == 3


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="questions has 1 rows where texts has 4"):
        batch(questions=["only one"])


def test_every_share_knows_the_texts_of_the_whole_step_and_whose_they_are() -> None:
    sites, questions = [SITE, SITE, SITE, Site("h", 2)], ["p", "q", "p", "q"]
    rows = make_rows(list("abcd"), torch.zeros(4, 2), SITE, sites=sites, questions=questions)
    assert rows.thoughts == [0, 1, 0, 2]  # one question has a thought a site
    share = rows.take([3, 2])
    assert (share.texts, share.thoughts) == (["d", "c"], [2, 0])
    assert share.step == StepTexts(list("abcd"), [0, 1, 0, 2])
    assert share.take([]).step == share.step
    assert replace(rows, thoughts=[7, 7, 8, 9]).take([0]).thoughts == [7]
