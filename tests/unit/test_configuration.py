"""Reading a proxy.ini and what belongs to it: whatever is wrong is a problem, never a traceback."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from proxy import configuration
from proxy.errors import ConfigurationProblems, Problem

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf/proxy.ini"
    path.touch(0o600)
    return path


def _problem(path: Path) -> Problem:
    with pytest.raises(ConfigurationProblems) as caught:
        configuration.load(str(path))
    (problem,) = caught.value.problems
    return problem


def test_paths_begin_above_the_folder_of_the_file(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(conf.parent.parent)
    settings = configuration.load("conf/proxy.ini")
    assert settings.listen.certificate == str(conf.parent.parent / "var/tls/proxy.crt")


def test_node_is_the_name_of_the_machine_unless_given(conf: Path) -> None:
    assert configuration.load(str(conf)).proxy.node == os.uname().nodename
    conf.write_text("[proxy]\nnode = left\n")
    assert configuration.load(str(conf)).proxy.node == "left"


def test_missing_file(tmp_path: Path) -> None:
    problem = _problem(tmp_path / "nowhere.ini")
    assert problem.message == "cannot be read: No such file or directory"
    assert "--conf" in problem.remedy


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert _problem(tmp_path).message == "cannot be read: Is a directory"


def test_file_that_is_too_large(conf: Path) -> None:
    conf.write_bytes(b"#" * ((1 << 20) + 1))
    assert "is larger than 1048576 bytes" in _problem(conf).message


def test_line_that_is_not_utf8(conf: Path) -> None:
    conf.write_bytes(b"[proxy]\nnode = caf\xe9\n")
    problem = _problem(conf)
    assert (problem.line, problem.message) == (2, "this line is not UTF-8")


def test_secret_from_a_file_without_its_line_end(conf: Path) -> None:
    secret = conf.parent.parent / "secret"
    secret.touch(0o600)
    secret.write_text(SECRET + "\n")
    conf.write_text("[proxy]\nsecret_file = secret\n")
    assert configuration.load(str(conf)).proxy.secret == SECRET.encode()


def test_secret_from_the_environment(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_PROXY_PROXY_SECRET", SECRET)
    assert configuration.load(str(conf)).proxy.secret == SECRET.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"x" * 5000, "larger than"), (b"\xff" * 40, "not UTF-8"), (None, "No such file")],
)
def test_secret_file_that_cannot_be_used(conf: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (conf.parent.parent / "secret").write_bytes(content)
    conf.write_text("[proxy]\nsecret_file = secret\n")
    assert message in _problem(conf).message


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o640, False), (0o644, True)])
@pytest.mark.parametrize("kept", ["here", "in a file"])
def test_secret_that_everybody_may_read_is_said(
    conf: Path, caplog: pytest.LogCaptureFixture, mode: int, warns: bool, kept: str
) -> None:
    secret = conf.parent.parent / "secret"
    secret.write_text(SECRET)
    secret.chmod(mode if kept == "in a file" else 0o600)
    conf.write_text(
        f"[proxy]\nsecret = {SECRET}\n" if kept == "here" else "[proxy]\nsecret_file = secret\n"
    )
    conf.chmod(mode if kept == "here" else 0o644)
    with caplog.at_level(logging.WARNING):
        configuration.load(str(conf))
    assert bool(caplog.records) == warns
    assert SECRET not in caplog.text
    if warns:
        assert "chmod o-rwx" in caplog.text


def test_open_file_without_secrets_is_fine(conf: Path, caplog: pytest.LogCaptureFixture) -> None:
    conf.write_text("[proxy]\nid = 45BCEBB32AA9\n# secret = commented\nsecret =\n")
    conf.chmod(0o644)
    configuration.load(str(conf))
    assert not caplog.records
