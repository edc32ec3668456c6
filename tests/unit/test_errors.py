"""errors: the tree, its statuses, and what an operator reads."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from proxy import errors
from proxy.errors import (
    BadMessage,
    Blame,
    ConfigurationProblems,
    Problem,
    RelayError,
    Unreachable,
)

_CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.ProxyError)
]


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = re.findall(r"^ *[|+\- ]*([A-Z]\w+)(?: (\d{3}))?", errors.__doc__ or "", re.MULTILINE)
    statuses = {name: int(status) for name, status in drawn if status}
    names = {name for name, _ in drawn}
    for known in _CLASSES:
        assert known.__name__ in names
        if known.__name__ in statuses:
            assert issubclass(known, RelayError)
            assert known.status == statuses[known.__name__]
    assert set(errors.__all__) >= {known.__name__ for known in _CLASSES}


@pytest.mark.parametrize("known", [known for known in _CLASSES if issubclass(known, RelayError)])
def test_every_relay_error_has_a_status_a_token_and_a_blame(known: type[RelayError]) -> None:
    error = known("what happened")
    assert str(error) == error.detail == "what happened"
    assert 400 <= error.status < 600
    assert re.fullmatch("[a-z_]+", error.token)
    assert error.blame in get_args(Blame)
    if issubclass(known, BadMessage):
        assert (error.blame, error.token) == ("client", "http_request_error")


def test_token_and_blame_can_be_told() -> None:
    error = Unreachable("refused", token="connection_refused", blame="agent")
    assert (error.status, error.token, error.blame) == (503, "connection_refused", "agent")


def test_all_problems_are_shown_in_line_order() -> None:
    late = Problem("proxy.ini", 9, "[listen] port", "x", "is not a number", "Write 2002")
    early = Problem("proxy.ini", 0, "[proxy] id", "", "is missing", "Give it")
    found = ConfigurationProblems([late, early])
    assert found.problems == [early, late]
    assert str(found) == (
        "proxy.ini: [proxy] id: is missing. Give it\n"
        "proxy.ini:9: [listen] port = 'x': is not a number. Write 2002"
    )
