"""Answers to the questions of the first boot, from whatever form they come in, as flat values.

Values. Neighbours: `answer_sources` fetches the texts, `answers` gives the values a meaning.

One schema for all forms, KEY -> text:
    cloud-init user data   a mapping `agent-proxy:` in YAML or JSON, nested or with dotted keys
    OVF environment        properties "agent-proxy.KEY"
    kernel command line    words agent-proxy.KEY=VALUE
A list may be a YAML list or texts separated by commas. All scalars are texts here ("1.0" stays
"1.0", "no" stays "no"): what they mean is said by the key, not by the way they are written.

YAML is read with PyYAML's BaseLoader, which makes texts, lists and mappings only. Keys that occur
twice and anchors (which can make a small text huge) are refused, as is anything over 64 KiB.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Final, TypeAlias
from xml.etree import ElementTree

import yaml

from appliance.errors import Problem, Problems

__all__ = ["PREFIX", "Values", "from_kernel", "from_ovf", "from_user_data", "host_name"]

Values: TypeAlias = dict[str, str]

PREFIX: Final = "agent-proxy"
_LIMIT_BYTES: Final = 64 << 10
_DEPTH_LIMIT: Final = 6
# Everybody on the machine may read the kernel command line.
_NOT_FOR_EVERYBODY: Final = ("password", "secret")


class _Loader(yaml.BaseLoader):
    """Refuses anchors and keys that occur twice."""

    # Any: PyYAML's nodes and events are not typed further.
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: anchors are not taken")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            if name.value in seen:
                line = name.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: {name.value} is given twice")
            seen.add(name.value)
        return super().construct_mapping(node, deep=deep)


def from_user_data(content: bytes, source: str) -> Values:
    """Return the answers in cloud-init user data; none where it has nothing of ours.

    Scripts and other kinds of user data are not ours. Raises: Problems.
    """
    text = _text(content, source)
    if text.startswith(("#!", "#include", "#part-handler", "#boothook", "Content-Type:", "MIME-")):
        return {}
    try:
        document = yaml.load(text, Loader=_Loader)  # texts only
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())[:200]
        raise _refused(source, f"this is no YAML: {said}", "Check it with a YAML linter.") from None
    except RecursionError:
        raise _refused(source, "this is nested too deeply", "Write dotted keys.") from None
    if not isinstance(document, dict) or PREFIX not in document:
        return {}
    found: Values = {}
    problems: list[Problem] = []
    _flatten(document[PREFIX], "", found, problems, source, 0)
    if problems:
        raise Problems(problems)
    return found


def from_ovf(content: bytes, source: str) -> Values:
    """Return the answers in an OVF environment document. Empty ones count as not given.

    Raises: Problems.
    """
    text = _text(content, source)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _refused(source, "it declares a document type", "An OVF environment has none.")
    try:
        top = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        remedy = "Let the hypervisor write it again."
        raise _refused(source, f"this is no XML: {error}", remedy) from None
    found: Values = {}
    for element in top.iter():
        if element.tag.rpartition("}")[2] != "Property":
            continue
        names = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        head, dot, key = names.get("key", "").partition(".")
        if head != PREFIX or not dot or not names.get("value", "").strip():
            continue
        if key in found:
            raise _refused(f"{source} {key}", "is given twice", "Give it once.")
        found[key] = names["value"].strip()
    return found


def from_kernel(content: bytes, source: str) -> Values:
    """Return the answers on a kernel command line. Raises: Problems."""
    text = _text(content, source)
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()  # a quote that is never closed: the kernel splits at blanks, too
    found: Values = {}
    problems = []
    for word in words:
        name, equals, value = word.partition("=")
        head, dot, key = name.partition(".")
        if head != PREFIX or not dot:
            continue
        if not equals or not value:
            remedy = f"Write {PREFIX}.KEY=VALUE."
            problems.append(Problem(f"{source} {key}", "", "has no value", remedy))
        elif key.rpartition(".")[2].endswith(_NOT_FOR_EVERYBODY):
            remedy = "Give it as user data or OVF property, or at the console."
            message = "everybody may read the kernel command line"
            problems.append(Problem(f"{source} {key}", "", message, remedy))
        elif key in found:
            problems.append(Problem(f"{source} {key}", "", "is given twice", "Give it once."))
        else:
            found[key] = value
    if problems:
        raise Problems(problems)
    return found


def host_name(content: bytes, source: str) -> str:
    """Return the host name that meta-data (NoCloud: YAML, OpenStack: JSON) gives, or ""."""
    text = _text(content, source)
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else None
        if document is None:
            document = yaml.load(text, Loader=_Loader)  # texts only
    except (ValueError, yaml.YAMLError, RecursionError):
        return ""  # not ours, and nothing is lost: the host name has a default
    if not isinstance(document, dict):
        return ""
    name = document.get("local-hostname") or document.get("hostname") or ""
    return name.partition(".")[0] if isinstance(name, str) else ""


def _flatten(
    value: Any, name: str, found: Values, problems: list[Problem], source: str, depth: int
) -> None:
    """Add what is below `name` to `found`, nested mappings as dotted keys."""
    place = f"{source} {name}".rstrip()
    if isinstance(value, dict) and depth < _DEPTH_LIMIT:
        for key, inner in value.items():
            whole = f"{name}.{key}" if name else str(key)
            _flatten(inner, whole, found, problems, source, depth + 1)
        return
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    if not isinstance(value, str) or not name:
        message = "this is neither a text nor a list of texts"
        problems.append(Problem(place, "", message, "Write KEY: VALUE."))
    elif name in found:
        message = "is given twice, nested and with dots"
        problems.append(Problem(place, "", message, "Give it once."))
    elif value.strip():
        found[name] = value.strip()


def _text(content: bytes, source: str) -> str:
    if len(content) > _LIMIT_BYTES:
        message = f"is longer than {_LIMIT_BYTES} bytes"
        raise _refused(source, message, "Keep other things out of it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(source, "is not UTF-8 text", "Save it as UTF-8.") from None


def _refused(place: str, message: str, remedy: str) -> Problems:
    return Problems([Problem(place, "", message, remedy)])
