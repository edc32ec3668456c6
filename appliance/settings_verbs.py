"""The verbs that show and change proxy.ini, and what other topics change in it by.

Shell. Neighbours: `proxy_setup` plans, `commit_verbs.carry_out` applies; zone_verbs and
platform_verbs above change settings by `change`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from appliance import facts, keeping, proxy_setup
from appliance.commit_verbs import carry_out
from appliance.errors import Problem, Problems, Refusal
from appliance.ini_edit import Change
from appliance.places import SERVICE_OWNER, Places
from appliance.plan import Plan, Write, joined
from appliance.self_test import SelfTest
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy.declaration import SECRET_MINIMUM
from proxy.settings import DECLARATIONS, Settings, show
from proxy.values import as_text

__all__ = ["VERBS", "change", "replace", "text_of", "values_of"]

_SECRET_BYTES: Final = 32


def text_of(context: Context) -> str:
    """Return the text of proxy.ini. Raises: Refusal."""
    content = context.system.read(context.conf)
    if content is None:
        raise Refusal(f"{context.conf} is not there. Install the appliance first")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refusal(f"{context.conf} is not UTF-8 text. Restore a backup") from error


def change(
    context: Context,
    title: str,
    changes: Sequence[Change],
    *,
    extra: tuple[Write, ...] = (),
    removals: tuple[str, ...] = (),
) -> Result:
    """Change single values and put them in force, to be confirmed. Raises: Problems, Refusal."""
    text = proxy_setup.edited(text_of(context), changes)
    return replace(context, title, text, extra=extra, removals=removals)


def replace(
    context: Context,
    title: str,
    text: str,
    *,
    extra: tuple[Write, ...] = (),
    removals: tuple[str, ...] = (),
) -> Result:
    """Replace the whole text, comments and all. `extra` files belong to it."""
    system, places = context.system, Places(context.conf)
    read = _reader(context, extra)
    node = (system.read("/proc/sys/kernel/hostname") or b"").decode().strip()
    after = proxy_setup.judge(text, context.conf, read, node)
    before, _ = facts.configured(system, context.conf)
    running = facts.affected(system, places)
    plan = proxy_setup.plan(title, places, text, before, after, running, extra=extra)
    rules = keeping.firewall_of(context, after, keeping.load(context))
    plan = joined(title, rules, plan, Plan(title, removals=removals))
    test = SelfTest(system, context.conf, context.stop)
    return carry_out(context, plan, confirm_s=keeping.CONFIRM_S, self_test=test)


def _reader(context: Context, extra: tuple[Write, ...]) -> Callable[[str], str]:
    """Read secrets from files that are only planned yet, else from those that are there."""
    planned = {write.path: write.content for write in extra}
    on_disk = facts.secret_reader(context.system)
    return lambda path: planned[path].decode().strip() if path in planned else on_disk(path)


def values_of(settings: Settings) -> dict[str, dict[str, str]]:
    """Return every setting as text by section and key, secrets masked; zones as "zones.NAME"."""
    found: dict[str, dict[str, str]] = {}
    for one in DECLARATIONS:
        for name, values in _named(settings, one.section):
            text = as_text(getattr(values, one.field), one)
            found.setdefault(name, {})[one.key] = text
    return found


def _named(settings: Settings, section: str) -> list[tuple[str, object]]:
    if section == "zones.*":
        return [(f"zones.{zone.name}", zone) for zone in settings.zones]
    if section == "peers.*":
        return [(f"peers.{peer.id}", peer) for peer in settings.peers]
    return [(section, getattr(settings, section))]


def _loaded(context: Context) -> Settings:
    """Raises: Problems, Refusal."""
    read = facts.secret_reader(context.system)
    node = (context.system.read("/proc/sys/kernel/hostname") or b"").decode().strip()
    return proxy_setup.judge(text_of(context), context.conf, read, node)


def _show(context: Context, values: Values) -> Result:
    found = _loaded(context)
    wanted = values.get("section")
    data = values_of(found)
    if wanted is not None:
        if wanted not in data:
            remedy = f"There are: {', '.join(data)}."
            raise Problems([Problem("SECTION", wanted, "there is no such section", remedy)])
        lines = [f"{key} = {value}".rstrip() for key, value in data[wanted].items()]
        return Result(tuple(lines), {wanted: data[wanted]})
    return Result(tuple(show(found)), data)


def _set(context: Context, values: Values) -> Result:
    name, given = str(values["name"]), tuple(values["value"] or ())
    section, key = proxy_setup.place(name)
    declaration = proxy_setup.declared(section, key)
    assert declaration is not None, "place() refuses what is not declared"
    if declaration.is_secret and declaration.key == key:
        remedy = f"Give it unseen: agent-proxy-appliance settings secret {name}."
        message = "a secret is never given on the command line"
        raise Problems([Problem(name, "", message, remedy)])
    text = ", ".join(one.strip() for one in given)
    return change(context, f"settings: {name}", [Change(section, key, text)])


def _secret(context: Context, values: Values) -> Result:
    """Keep a secret in a file of its own, which proxy.ini names."""
    name = str(values["name"])
    section, key = proxy_setup.place(name)
    declaration = proxy_setup.declared(section, key)
    if declaration is None or not declaration.is_secret or declaration.key != key:
        remedy = "There are: proxy.secret, proxy.previous_secret, upstream.http_proxy_password."
        raise Problems([Problem("NAME", name, "this is no secret", remedy)])
    secret = values.get("value")
    if values.get("generate"):
        secret = secrets.token_hex(_SECRET_BYTES)
    if not secret:
        low = SECRET_MINIMUM if declaration.kind == "secret" else 1
        remedy = f"Type {low} characters or more, or let one be made with --generate."
        raise Problems([Problem(name, "", "no secret was given", remedy)])
    if declaration.kind == "secret" and len(str(secret)) < SECRET_MINIMUM:
        message = f"has {len(str(secret))} characters"
        remedy = f"Type {SECRET_MINIMUM} or more, or let one be made with --generate."
        raise Problems([Problem("--value", "", message, remedy)])
    kept = f"var/{key}"
    path = f"{Places(context.conf).base}/{kept}"
    write = Write(path, f"{secret}\n".encode(), 0o600, SERVICE_OWNER, secret=True)
    changes = [Change(section, key, None), Change(section, f"{key}_file", kept)]
    return change(context, f"settings: {name}", changes, extra=(write,))


def _edit(context: Context, values: Values) -> Result:
    return replace(context, "settings: proxy.ini", str(values["text"]))


def _difference(context: Context, values: Values) -> Result:
    found = _loaded(context)
    data: dict[str, str] = {}
    for one in DECLARATIONS:
        for name, part in _named(found, one.section):
            text = as_text(getattr(part, one.field), one)
            if text != one.default:
                data[f"{name}.{one.key}"] = text
    document = facts.status(context.system, found)
    lines = [f"{name} = {value}".rstrip() for name, value in data.items()]
    if document is None:
        lines.append("No worker answers: nothing is in force.")
    return Result(tuple(lines), {"differsFromDefault": data, "running": document is not None})


def _judged_name(text: str) -> None:
    """Raises: ValueError."""
    try:
        proxy_setup.place(text)
    except Problems as problems:
        raise ValueError(problems.problems[0].message) from None


def _judged_section(text: str) -> None:
    """Raises: ValueError; whether a zone of this name is there is seen in the file."""
    top, dot, _ = text.partition(".")
    if (f"{top}.*" if dot else top) not in _SECTIONS:
        raise ValueError("is no section")


_SECTIONS: Final = frozenset(one.section for one in DECLARATIONS)
_NAME: Final = Argument(
    "name",
    "text",
    "the setting",
    "SECTION.KEY, such as upstream.endpoint",
    required=True,
    positional=True,
    check=_judged_name,
)
_COMMIT: Final = "It is taken back after 120 s unless confirmed."

VERBS: Final = (
    Verb(
        "settings show",
        "show the proxy's settings that are in the file, secrets masked",
        _show,
        (
            Argument(
                "section",
                "text",
                "one section only",
                "upstream, zones.NAME ...",
                positional=True,
                check=_judged_section,
            ),
        ),
        ("agent-proxy-appliance settings show", "agent-proxy-appliance settings show upstream"),
    ),
    Verb(
        "settings set",
        "change one setting of proxy.ini; comments and order stay",
        _set,
        (
            _NAME,
            Argument(
                "value",
                "list",
                "the new value; several make a list; '' is not set",
                "what conf/proxy.ini says of it",
                positional=True,
                required=True,
            ),
        ),
        (
            "agent-proxy-appliance settings set proxy.id 45BCEBB32AA9",
            "agent-proxy-appliance settings set platform.networks 8.7.6.5 8.7.6.0/28 --dry-run",
            "agent-proxy-appliance settings set zones.isolated-1.port 2003",
        ),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
    Verb(
        "settings secret",
        "keep a secret in a file of its own, named in proxy.ini",
        _secret,
        (
            _NAME,
            Argument("value", "secret", "the secret", "32 characters or more"),
            Argument("generate", "flag", "make a random one"),
        ),
        (
            "agent-proxy-appliance settings secret proxy.secret --generate",
            "agent-proxy-appliance settings secret proxy.secret --value-file - < secret.txt",
        ),
        f"All nodes of a group need the same proxy.secret. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
    Verb(
        "settings edit",
        "replace proxy.ini by a file, after checking it as a whole",
        _edit,
        (Argument("text", "lines", "the new proxy.ini", positional=True, required=True),),
        (
            "agent-proxy-appliance settings edit new.ini --dry-run",
            "agent-proxy-appliance settings edit - < new.ini",
        ),
        f"The difference is shown. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
    Verb(
        "settings difference",
        "show which settings differ from the defaults",
        _difference,
        examples=("agent-proxy-appliance settings difference --json",),
    ),
)
