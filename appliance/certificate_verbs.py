"""The verbs of the node's certificate: self-signed, requested, installed; days left.

Shell. Neighbours: proxy's `certificates` makes and `chain` judges; `commit_verbs` applies. A new
certificate is a change like any other: tested, and taken back unless confirmed.
"""

from __future__ import annotations

from typing import Any, Final

from appliance import errors, facts, fields, proxy_setup
from appliance.commit_verbs import carry_out
from appliance.errors import Problem, Problems, Refusal
from appliance.facts import Facts
from appliance.keeping import settled
from appliance.places import SERVICE_OWNER, Places
from appliance.plan import Plan, Write
from appliance.self_test import SelfTest
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy import certificates, chain
from proxy.certificates import CertificateFacts
from proxy.errors import ConfigurationProblems
from proxy.settings import Settings

__all__ = ["VERBS"]

_CONFIRM_S: Final = 120.0
_DAYS: Final = 397


def _names(values: Values, found: Facts) -> list[str]:
    """Return what agents may dial: as given, or this machine's name and addresses."""
    given = [str(one) for one in values.get("name") or ()]
    own = [text.partition("/")[0] for one in found.interfaces for text in one.addresses]
    return given or list(dict.fromkeys(filter(None, (found.hostname, *own))))


def _show(context: Context, values: Values) -> Result:
    found, settings = settled(context)
    known = found.certificate
    if known is None:
        raise Refusal(f"there is no certificate in {settings.listen.certificate}")
    data = {"file": settings.listen.certificate, **_as_data(known)}
    waiting = f"{settings.listen.key}.new"
    data["requestWaits"] = context.system.entry(waiting) is not None
    return Result(tuple(f"{name:<13} {value}" for name, value in data.items()), data)


def _as_data(known: CertificateFacts) -> dict[str, Any]:
    # Any: text and numbers.
    return {
        "subject": known.subject,
        "issuer": known.issuer,
        "names": ", ".join(known.names),
        "notBefore": known.not_before.isoformat(),
        "notAfter": known.not_after.isoformat(),
        "daysLeft": known.days_left,
        "key": known.key_kind,
        "sha256": known.sha256,
    }


def _self_signed(context: Context, values: Values) -> Result:
    found, settings = settled(context)
    days = values.get("days") or _DAYS
    try:
        pem, key = certificates.self_signed(
            _names(values, found), days, rsa_key=bool(values.get("rsa"))
        )
    except ValueError as error:
        remedy = "Give what agents dial: --name proxy.example.com --name 10.1.2.3."
        raise Problems([Problem("--name", "", str(error), remedy)]) from error
    return _put(context, found, settings, pem, key, "self-signed certificate")


def _put(
    context: Context,
    found: Facts,
    settings: Settings,
    pem: bytes,
    key: bytes,
    title: str,
    removals: tuple[str, ...] = (),
) -> Result:
    """Put a certificate and its key in force, to be confirmed. Raises: Problems, Refusal."""
    wrong = chain.problems(pem, key)
    if wrong:
        raise errors.of_configuration(ConfigurationProblems(wrong))
    listen = settings.listen
    writes = (
        Write(listen.key, chain.key_block(key), 0o600, SERVICE_OWNER, secret=True),
        Write(listen.certificate, pem, 0o644, SERVICE_OWNER),
    )
    places = Places(context.conf)
    actions = proxy_setup.take_up(places, facts.affected(context.system, places))
    plan = Plan(title, writes, removals, actions)
    known = certificates.facts(pem)
    lines = (
        f"For {', '.join(known.names)}; valid for {known.days_left} days, {known.key_kind}.",
        f"SHA-256 {known.sha256}",
    )
    test = SelfTest(context.system, context.conf, context.stop)
    data: dict[str, object] = {"certificate": _as_data(known)}
    return carry_out(context, plan, confirm_s=_CONFIRM_S, self_test=test, lines=lines, data=data)


def _request(context: Context, values: Values) -> Result:
    found, settings = settled(context)
    waiting = f"{settings.listen.key}.new"
    if context.system.entry(waiting) is not None and not values.get("force"):
        reason = f"{waiting} waits for the answer to an earlier request"
        raise Refusal(f"{reason}. Give --force to start again; that answer is then useless")
    try:
        signed, key = certificates.request(_names(values, found))
    except ValueError as error:
        remedy = "Give what agents dial: --name proxy.example.com --name 10.1.2.3."
        raise Problems([Problem("--name", "", str(error), remedy)]) from error
    write = Write(waiting, key, 0o600, SERVICE_OWNER, secret=True)
    text = signed.decode()
    output = values.get("output")
    writes = (write, Write(str(output), signed)) if output else (write,)
    lines = (
        "The new key never leaves this machine. Let your CA sign the request, then:",
        "agent-proxy-appliance certificate install CHAIN.pem",
        *(() if output else text.splitlines()),
    )
    return carry_out(
        context, Plan("certificate request", writes), lines=lines, data={"request": text}
    )


def _judged_key(text: str) -> None:
    """Raises: ValueError; whether it belongs to the certificate is judged with the rest."""
    if "PRIVATE KEY-----" not in text:
        raise ValueError("is not a key in PEM form: -----BEGIN PRIVATE KEY-----")


def _install(context: Context, values: Values) -> Result:
    found, settings = settled(context)
    waiting = f"{settings.listen.key}.new"
    given = values.get("key")
    removals: tuple[str, ...] = ()
    if given:
        key = str(given).encode()
    else:
        content = context.system.read(waiting)
        removals = (waiting,) if content is not None else ()
        key = content or context.system.read(settings.listen.key) or b""
    pem = str(values["chain"]).encode()
    return _put(context, found, settings, pem, key, "certificate installed", removals)


_NAME: Final = Argument(
    "name",
    "list",
    "what agents dial; repeatable",
    "a host name or address",
    "this machine's own",
    check=fields.host,
)
_COMMIT: Final = "It is taken back after 120 s unless confirmed."
VERBS: Final = (
    Verb(
        "certificate show",
        "show names, dates, days left and fingerprint",
        _show,
        examples=("agent-proxy-appliance certificate show --json",),
    ),
    Verb(
        "certificate self-signed",
        "make a key and a certificate of its own (EC P-256)",
        _self_signed,
        (
            _NAME,
            Argument(
                "days", "number", "how long it is valid", "1 to 7300", "397", low=1, high=7300
            ),
            Argument("rsa", "flag", "RSA-2048 instead, for agents on Java 6; slower"),
        ),
        ("agent-proxy-appliance certificate self-signed --name proxy.example.com --name 10.1.2.3",),
        f"Agents with environment=production must trust the new one. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
    Verb(
        "certificate request",
        "make a new key and a signing request for a CA",
        _request,
        (
            _NAME,
            Argument(
                "output",
                "file",
                "where to",
                "",
                "shown",
                check=fields.path,
            ),
            Argument("force", "flag", "forget an earlier request"),
        ),
        ("agent-proxy-appliance certificate request --name proxy.example.com",),
        changes=True,
    ),
    Verb(
        "certificate install",
        "check a certificate with its chain and put it in place",
        _install,
        (
            Argument(
                "chain",
                "lines",
                "PEM: the node's certificate, then each one's issuer",
                positional=True,
                required=True,
                check=fields.authorities,
            ),
            Argument(
                "key",
                "lines",
                "its key, PEM",
                "",
                "that of the last request, or in use",
                check=_judged_key,
            ),
        ),
        (
            "agent-proxy-appliance certificate install chain.pem",
            "agent-proxy-appliance certificate install - < chain.pem",
        ),
        f"Key, order of the chain and dates must be right. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
)
