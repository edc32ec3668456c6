"""What the pages say and the code does: links, settings, verbs, end words, errors, series."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from proxy import arguments, errors, metrics
from proxy.declarations import DECLARATIONS
from proxy.telemetry import END_WORDS, Telemetry

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
ALERTS = ROOT / "conf" / "alerts.yml"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = {(one.section, one.key): one for one in DECLARATIONS}
SECRETS = {(one.section, f"{one.key}_file") for one in DECLARATIONS if one.is_secret}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAMED = re.compile(r"`\[(\w+)\] (\w+)")
_VERB = re.compile(r"(?:\bap|agent-proxy(?: --conf \S+)?) ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?")
_LABEL = re.compile(r'\b(end|event)=~?"([\w|]+)"')
_TOKEN = re.compile(r'token="(\w+)"|else "(\w+)"')


def _without_examples(text: str) -> str:
    return _FENCE.sub("", text)


def _table(header: str) -> list[list[str]]:
    """Rows of the table whose first column is named `header`."""
    lines = README.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    text = _without_examples(page.read_text())
    for link in _LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in map(_anchor, headings), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_named_exists(page: Path) -> None:
    for section, key in _NAMED.findall(page.read_text()):
        assert (section, key) in SETTINGS or (section, key) in SECRETS, f"[{section}] {key}"


def test_every_setting_of_the_examples_exists() -> None:
    examples = [text for kind, text in _FENCE.findall(README) if kind == "ini"]
    ours = [text for text in examples if "[Unit]" not in text]
    assert len(ours) >= 3
    for text in ours:
        section = ""
        for line in filter(None, text.splitlines()):
            if line.startswith("["):
                section = line.strip("[]")
                continue
            key = line.partition(" = ")[0]
            assert (section, key) in SETTINGS or (section, key) in SECRETS, f"[{section}] {key}"


def test_every_test_that_answers_a_threat_exists() -> None:
    """A row names `file::test`, or a folder of corpus files; all of them are there."""
    text = (ROOT / "docs" / "security.md").read_text().partition("## Threats")[2]
    rows = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`((?:unit|integration|lab|demo|fuzz|soak|corpus)/[^`]+)`", row)
        assert named, row
        for one in named:
            path, _, name = one.partition("::")
            assert (ROOT / "tests" / path).exists(), one
            assert not name or f"def {name}(" in (ROOT / "tests" / path).read_text(), one


def test_the_table_of_security_defaults_is_right() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| `\[(\w+)\] (\w+)` \| ([^|]+?) \|", text, re.MULTILINE)
    assert len(rows) >= 10
    for section, key, default in rows:
        meant = SETTINGS[section, key].default
        assert default == (meant or "not set"), (section, key, meant)


def test_the_table_of_limits_is_complete_and_its_defaults_are_right() -> None:
    rows = _table("setting")
    named = {}
    for setting, default, _ in rows:
        matched = _NAMED.fullmatch(setting.rstrip("`"))
        assert matched is not None, setting
        named[matched[1], matched[2]] = default.partition(" ")[0]
    for place, default in named.items():
        assert SETTINGS[place].default == default, place
    bounds = {place for place in SETTINGS if place[0] in ("timeouts", "limits", "drain")}
    assert bounds <= set(named)


def test_every_verb_named_exists() -> None:
    verbs = _choices(arguments.parser({}))
    actions = _choices(verbs["certificate"])
    spoken = "\n".join([*re.findall(r"`([^`\n]+)`", README), *_commands()])
    found = {match for match in _VERB.findall(spoken) if match[0] != "worker-"}
    assert found
    for verb, action in found:
        assert verb in verbs, verb
        if verb == "certificate":
            assert action in actions, action


def _commands() -> list[str]:
    lines = [line for _, text in _FENCE.findall(README) for line in text.splitlines()]
    return [line for line in lines if re.match(r"\$ (ap|agent-proxy) ", line)]


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (verbs,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(verbs.choices)


def test_the_end_words_are_those_of_the_code_in_their_order() -> None:
    assert [row[0].strip("`") for row in _table("end")] == list(END_WORDS)


def _errors(base: type[errors.RelayError] = errors.RelayError) -> set[type[errors.RelayError]]:
    return {base}.union(*(_errors(child) for child in base.__subclasses__()))


def test_the_statuses_are_those_of_the_error_tree() -> None:
    sent = {error.status for error in _errors()} - {errors.ClientGone.status}
    assert [int(row[0]) for row in _table("status")] == sorted(sent)


def test_the_tokens_are_those_that_the_code_says() -> None:
    tokens = {error.default_token for error in _errors()}
    for module in (ROOT / "proxy").glob("*.py"):
        for line in module.read_text().splitlines():
            if "token=" in line:
                tokens.update(one for match in _TOKEN.findall(line) for one in match if one)
    documented = {row[0].strip("`"): row[1] for row in _table("`Proxy-Status` token")}
    assert set(documented) == tokens
    statuses: dict[str, set[str]] = {}
    for error in _errors() - {errors.ClientGone}:
        statuses.setdefault(error.default_token, set()).add(str(error.status))
    for token, expected in statuses.items():
        assert expected <= set(documented[token].split(", ")), token


@pytest.mark.parametrize("page", [ROOT / "README.md", ALERTS], ids=lambda page: page.name)
def test_every_series_named_exists(page: Path) -> None:
    worker = Telemetry(0, "plain", access=False).snapshot()
    worker |= {"connections": 0, "connectionsLimit": 0, "idleConnections": 0}
    worker |= {"certificateEnds": 0, "readyProblems": [], "upstream": [], "zones": []}
    known = set(re.findall(rb"^# TYPE (\w+)", metrics.render([worker], {}), re.MULTILINE))
    named = set(re.findall(r"\bagent_proxy_[a-z_]+", page.read_text()))
    assert named
    assert named <= {name.decode() for name in known}


def test_alerts_speak_of_ends_and_events_that_the_code_has() -> None:
    ends = {row[0].strip("`") for row in _table("end")}
    said = set(_LABEL.findall(ALERTS.read_text()))
    assert {word for label, words in said if label == "end" for word in words.split("|")} <= ends
    code = "".join(path.read_text() for path in (ROOT / "proxy").glob("*.py"))
    for label, event in said:
        if label == "event":
            assert f'"{event.removeprefix("refused_")}"' in code, event


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_temporary_or_private_place(page: Path) -> None:
    assert not re.search(r"(?<!\w)/(?:tmp|work|root|home)/", page.read_text())


FAILURES = (ROOT / "docs" / "failure-modes.md").read_text()


def test_the_failure_modes_name_tokens_ends_and_details_that_the_code_has() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in FAILURES.partition("## Callers")[0].splitlines()
        if line.startswith("| ") and not line.startswith("| symptom")
    ]
    assert len(rows) > 10
    documented = {row[0].strip("`") for row in _table("`Proxy-Status` token")}
    for row in rows:
        assert set(re.findall(r"`(\w+)`", row[2])) <= documented, row[2]
        assert row[3].strip("`") in END_WORDS, row[3]


def test_the_failure_modes_name_log_lines_and_tests_that_there_are() -> None:
    code = "\n".join(path.read_text() for path in sorted((ROOT / "proxy").glob("*.py")))
    for words in (
        "refused the connection",
        "no answer from the",
        "every upstream address timed out lately",
        "certificate was refused",
        "closed the connection before its response was complete",
        "the status line is not",
        "has no address",
        "is not there: ",
        "its process is gone",
        "a sibling serves its queue",
        "it has not answered for",
        "is killed",
        "drains, to be started again",
        "above [health] memory",
        "should be replaced: ",
        "reload changed nothing: ",
        "access_log_lost",
        "raise LimitNOFILE",
    ):
        assert words in FAILURES and words in code, words
    for name in set(re.findall(r"`(test_\w+)`", FAILURES)):
        assert list((ROOT / "tests").rglob(f"{name}.py")), name
