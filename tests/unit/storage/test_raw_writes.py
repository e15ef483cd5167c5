"""Nothing writes a file in place: a kill, or a full disk, would leave half of it where the whole one was."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What yields a place to write to, which takes its name when all is written.
WHOLE = {"whole_file", "whole_files", "whole_folder"}
WRITERS = {
    *("write_text", "write_bytes", "save_pretrained", "save_file", "save_model", "to_parquet", "to_csv"),
    *("write_table", "write_html", "copytree", "copyfile", "copy", "copy2", "savez", "touch", "save_to_json"),
}
# Each writes into a place that its caller makes whole, or says beside the line why it need not.
ALLOWED = {
    "reverse_codi/storage/json_lines.py": "append-only: a torn last line is cut on reading",
    "reverse_codi/processes/memory.py": "a file of the kernel's",
    "reverse_codi/cli/jobs/true_size.py": "the log of a command, as it comes",
    "reverse_codi/cli/jobs/demo.py": "an empty file whose being there is all",
    "reverse_codi/processes/local_cluster.py": "what `ray start` says; a token in a folder made for it",
    "reverse_codi/storage/mirror.py": "into a folder of the URL whose files are listed when all are there",
    "reverse_codi/processes/watchdog.py": "stacks, as they are dumped by a process that hangs",
    "reverse_codi/verbalize/word_dropout.py": "into a checkpoint's `writing/`, by WholeCheckpoints",
    "reverse_codi/reasoners/distill/phases.py": "into `writing/`, by WholeCheckpoints",
    "reverse_codi/reasoners/distill/run.py": "`CodiReasoner.save_pretrained`, which writes whole files",
}


def raw_writes(source: str) -> list[int]:
    """The lines that write outside of a `with` block of `WHOLE`."""
    found: list[int] = []

    def visit(node: ast.AST, whole: bool) -> None:
        if isinstance(node, ast.With):
            calls = [item.context_expr for item in node.items]
            inside = whole or any(isinstance(c, ast.Call) and name_of(c) in WHOLE for c in calls)
            for call in calls:
                visit(call, inside)
            for line in node.body:
                visit(line, inside)
            return
        if isinstance(node, ast.Call) and not whole and writes(node):
            found.append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child, whole)

    visit(ast.parse(source), False)
    return found


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def writes(call: ast.Call) -> bool:
    name, owner = name_of(call), ast.unparse(call.func).rpartition(".")[0]
    if name == "open":
        modes = [
            *call.args[0 if isinstance(call.func, ast.Attribute) else 1 :],
            *(k.value for k in call.keywords),
        ]
        texts = [
            mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)
        ]
        return any(len(text) <= 3 and set(text) & set("wax+") for text in texts)
    if name in ("save", "dump"):
        return owner in ("torch", "np", "numpy", "json", "pickle")
    if name in ("copy", "copy2"):
        return owner == "shutil"
    if name == "write_table":  # a stream in memory has one, too
        return owner == "pq"
    return name in WRITERS


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ('path.write_text("x")', True),
        ('open(path, "w")', True),
        ('path.open("a", encoding="utf-8")', True),
        ('path.open("rb")', False),
        ("path.open()", False),
        ("torch.save(x, path)", True),
        ("policy.save(folder)", False),
        ("copy.copy(x)", False),
        ("shutil.copy(a, b)", True),
        ("with whole_file(path) as temporary:\n    save_file(x, temporary)", False),
        ("with whole_folder(path) as t, other():\n    if x:\n        t.write_text('x')", False),
        ("with other():\n    save_file(x, path)", True),
    ],
)
def test_the_test_sees_what_it_should(line: str, raw: bool) -> None:
    assert bool(raw_writes(line)) is raw


def test_every_file_is_written_whole() -> None:
    modules = [*ROOT.glob("reverse_codi/**/*.py"), *ROOT.glob("reward/**/*.py")]
    found = {path.relative_to(ROOT).as_posix(): raw_writes(path.read_text()) for path in modules}
    raw = {name: lines for name, lines in found.items() if lines}
    assert {name: lines for name, lines in raw.items() if name not in ALLOWED} == {}, (
        "write by storage.files.write_whole, whole_file, or storage.folders.whole_folder, whole_files"
    )
    assert ALLOWED.keys() <= raw.keys(), "these write nothing any more; take them out of ALLOWED"
