"""The console's password."""

from __future__ import annotations

import pytest

from appliance import passwords

_GOOD = "correct horse battery"


def test_the_right_one_matches_and_no_other() -> None:
    file = passwords.content(_GOOD)
    assert _GOOD.encode() not in file
    assert passwords.is_set(file)
    assert passwords.matches(_GOOD, file)
    assert not passwords.matches(_GOOD + " ", file)
    assert not passwords.matches("", file)
    assert not passwords.matches("x" * 100_000, file)


def test_the_same_password_is_never_stored_the_same() -> None:
    assert passwords.content(_GOOD) != passwords.content(_GOOD)


@pytest.mark.parametrize("file", [None, b"", b"{}", b"[]", b"{broken", b'{"password": {}}'])
def test_where_none_is_set_nothing_matches(file: bytes | None) -> None:
    assert not passwords.is_set(file)
    assert not passwords.matches("", file)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "has 5 characters"),
        ("x" * 257, "has 257 characters"),
        ("aaaaaaaaaaaaaaaa", "fewer than 5 different"),
        (" correct horse battery", "begins or ends with a blank"),
        ("correct\x07horse battery", "cannot be typed"),
    ],
)
def test_a_bad_one_is_refused_without_showing_it(password: str, said: str) -> None:
    (problem,) = passwords.problems(password)
    assert said in str(problem)
    assert password not in str(problem)


def test_a_good_one_is_taken() -> None:
    assert passwords.problems(_GOOD) == []
