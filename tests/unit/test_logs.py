"""Tracebacks say where, never what: the text of an exception quotes what was received."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from proxy import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def provoke() -> BaseException:
    try:
        try:
            int("canary-inner")
        except ValueError as error:
            raise KeyError("canary-outer") from error
    except KeyError as error:
        return error


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_defect_is_logged_with_its_frames_and_without_its_text(
    capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    logs.start("debug", log_format, 0)
    logging.getLogger("proxy.connection").error("a defect", exc_info=provoke())
    text = capfd.readouterr().err
    assert "canary-outer" not in text.replace('KeyError("canary-outer")', "").replace(
        'KeyError(\\"canary-outer\\")', ""
    )  # the line of source that raised is shown, and is ours
    assert "builtins.ValueError" in text and "builtins.KeyError" in text
    assert "test_logs.py" in text and "in provoke" in text
    assert text.index("builtins.ValueError") < text.index("builtins.KeyError")
    if log_format == "json":
        assert json.loads(text)["level"] == "ERROR"


def test_nobody_elses_exception_says_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    logs.start("info", "plain", 0)
    value = "-".join(["canary", "value"])
    try:
        int(value)
    except ValueError as error:
        logs.uncaught(type(error), error, error.__traceback__)
        logs.uncaught_in_greenlet(value, type(error), error, error.__traceback__)
    text = capfd.readouterr().err
    assert text.count("builtins.ValueError") == 2
    assert "a defect ended a greenlet" in text
    assert value not in text
