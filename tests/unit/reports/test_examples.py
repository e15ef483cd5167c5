"""The examples in docstrings hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from reverse_codi.reports import alternatives, completions, curves, page


@pytest.mark.parametrize("module", [alternatives, completions, curves, page])
def test_doctests(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted and found.failed == 0
