"""The words behind every verb, and files of any content where a verb takes one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reverse_codi.cli.main import GROUPS, main, verb_module
from reverse_codi.cli.parser import Parser
from tests.fuzz.cases import cases
from tests.fuzz.damage import odd_texts

VERBS = [verb for verbs in GROUPS.values() for verb in verbs]
PARSERS: list[Callable[[], Parser]] = [verb_module(verb).parser for verb in VERBS]


def parsers() -> list[Parser]:
    """Of every verb, and of its sub-verbs."""
    return [part for make in PARSERS for made in [make()] for part in (made, *made.parts)]


NAMED = {made.prog: sorted(made._option_string_actions) for made in parsers()}
values = odd_texts | st.sampled_from(
    ["-1", "1e9", "9" * 5_000, "cuda", "nan", "--", "-", "{}", "h0", "z0..", "h" + "9" * 5_000]
)


@cases("command lines")
@given(data=st.data(), prog=st.sampled_from(sorted(NAMED)))
def test_words_are_options_or_one_line_says_why_not(
    data: st.DataObject, prog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [name for name in NAMED[prog] if name not in ("-h", "--help")]
    option = st.sampled_from(named or ["--none"])
    words = data.draw(
        st.lists(st.one_of(option, values, st.builds("{}={}".format, option, values)), max_size=5)
    )
    parser = next(made for made in parsers() if made.prog == prog)
    try:
        found = parser.parse_with_keys(words)[0] if parser.takes_recipe else parser.parse_args(words)
        assert isinstance(found, argparse.Namespace)
    except SystemExit as ended:
        said = capsys.readouterr().err
        assert ended.code == 2 and said.startswith("error: ") and "see reverse-codi" in said
        assert len(said) < 6_000


BAD = {
    "empty": b"",
    "zeros": b"\0" * 64,
    "json": b'[{"question": 3}]\n',
    "object": b'{"question": 3, "weight_map": {"a": "../b"}}\n',
    "deep": b"[" * 100_000,
    "latin": "fünf Äpfel, 12\n".encode("latin-1"),
    "yaml": b"a: [1\n",
    "digits": b"9" * 10_000,
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "zip": b"PK\x03\x04" + b"\0" * 40,
}
"""Contents that are not what any verb wants."""
NOT_BAD = {("report {bad}", "digits"), ("report {bad}", "yaml"), ("recipes {bad}", "object")}
"""A text file with one question, whatever it says; a YAML file of keys, which is printed as it is."""
# What a verb is given, {bad} a file or folder that is no such thing, {out} a place to write.
WITH_A_FILE = [
    "train {bad}",
    "train {bad} --resume",
    "trace {bad}",
    "distill {bad}",
    "pipeline {bad}",
    "ablate {bad}",
    "check-reasoner {bad}",
    "checkpoint {bad}",
    "evaluate {bad}",
    "report {bad}",
    "report --verbalizer {bad} question",
    "verbalize {bad}.jsonl",
    "verbalize --vectors {bad}.npy --sites z0",
    "verbalize --vectors {bad}.npz --sites z0",
    "verbalize --vectors {bad}.safetensors --sites z0",
    "verbalize --vectors {bad}.parquet --sites z0",
    "verbalize --verbalizer {bad} question",
    "verbalize --reasoner {bad} question",
    "push {bad} me/it --dry-run {out}",
    "export {bad} --merged {out}",
    "app {bad}",
    "trace import --hidden-states {bad}.npy --latent-inputs {bad}.npy --rows {bad}.jsonl --reasoner-hash x --out {out}",  # noqa: E501
    "rewards show {bad}.py:f",
    "rewards try {bad}.py:f",
    "rewards try brevity --texts {bad}.jsonl",
    "rewards try brevity --traces {bad}",
    "rewards try brevity --verbalizer {bad}",
    "rewards try brevity --reasoner {bad}",
    "trajectories {bad} --text 12 --out {out}",
    "listings {bad}",
    "curves {bad}",
    "paired {bad} {bad}",
    "recipes {bad}",
    "ceilings {bad}",
    "samples {bad}",
    "soft-text {bad}",
    "planted {bad}",
    "reading-study {bad}",
    "true-size {bad}",
    "bench-rewards {bad}",
]


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says as it fails; a traceback of anything but an exit fails the test."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err + (stopped.value.code if isinstance(stopped.value.code, str) else "")
    assert stopped.value.code not in (0, None), words
    return said


def given_words(command: str, bad: Path, out: Path) -> list[str]:
    return [word.format(bad=bad, out=out) for word in command.split()]


@pytest.mark.parametrize("command", WITH_A_FILE)
@pytest.mark.parametrize("kind", ["missing", "json"])
def test_every_verb_names_a_file_that_is_none_of_its_kind(
    command: str,
    kind: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted(command, kind, tmp_path)
    monkeypatch.chdir(tmp_path)
    said = ended(given_words(command, tmp_path / "bad", tmp_path / "out"), capsys)
    assert "error: " in said or said.startswith(str(tmp_path)), said
    assert "bad" in said and "Traceback" not in said and len(said) < 6_000
    assert not (tmp_path / "out").exists()


def planted(command: str, kind: str, folder: Path) -> None:
    """Put the bad file, or folder, where the command expects it."""
    for suffix in {
        word.partition("{bad}")[2].partition(":")[0] for word in command.split() if "{bad}" in word
    }:
        place = folder / f"bad{suffix}"
        if kind == "folder":
            place.mkdir()
        elif kind != "missing":
            place.write_bytes(BAD[kind])


@cases("bad files")
@given(command=st.sampled_from(WITH_A_FILE), kind=st.sampled_from(sorted(BAD)))
def test_any_content_is_named(
    command: str,
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assume((command, kind) not in NOT_BAD)
    folder = tmp_path_factory.mktemp("bad")
    planted(command, kind, folder)
    monkeypatch.chdir(folder)
    said = ended(given_words(command, folder / "bad", folder / "out"), capsys)
    assert "bad" in said and "Traceback" not in said and len(said) < 6_000
