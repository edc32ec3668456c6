"""What fuzzing has found so far, and the seeds it began with, replayed without atheris."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, seeds

KEPT = Path(__file__).parent / "kept"


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_hold(name: str) -> None:
    files = sorted((KEPT / name).iterdir())
    assert files, f"nothing is kept of {name}"
    for file in files:
        try:
            TARGETS[name](file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file}: {error!r}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_hold(name: str) -> None:
    found = seeds(name)
    assert found
    for seed in found:
        TARGETS[name](seed)


def test_every_kept_folder_has_a_target() -> None:
    assert {path.name for path in KEPT.iterdir()} == set(TARGETS)
