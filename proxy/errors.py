"""What can go wrong, and whose fault it is.

Layer 0 (pure). Neighbours: everything; nothing is imported here.

    ProxyError
    +-- ConfigurationProblems          the whole list of what is wrong with a proxy.ini
    +-- RelayError                     ends one exchange; knows its HTTP status
        +-- BadMessage 400             client  framing or syntax of a request
        |   +-- RequestTimeout 408     client  head or body did not arrive in time
        |   +-- TargetTooLong 414      client
        |   +-- ExpectationFailed 417  client
        |   +-- HeadTooLarge 431       client
        |   +-- MethodRefused 405      client  CONNECT and TRACE
        |   +-- VersionRefused 505     client
        |   +-- BadProxyHeader 400     client  PROXY protocol v2
        |   +-- BadRoute 400           client  Agent-Route that cannot be followed
        +-- Forbidden 403              client  policy says no
        +-- Misdirected 421            client  our ID is not in the route
        +-- LoopDetected 508           client  our ID is already in Via
        +-- NotReady 503               proxy   no ID, no upstream, overloaded
        +-- Unreachable 503            next hop refused, unknown or not there
        +-- TimedOut 504               next hop did not answer in time
        +-- BadAnswer 502              next hop answered garbage or broke off
        +-- ClientGone                 client  went away; nobody to answer
        +-- Internal 500               proxy   a defect of ours

`token` is the error type of RFC 9209 section 2.3 that `Proxy-Status` carries.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

__all__ = [
    "BadAnswer",
    "BadMessage",
    "BadProxyHeader",
    "BadRoute",
    "Blame",
    "ClientGone",
    "ConfigurationProblems",
    "ExpectationFailed",
    "Forbidden",
    "HeadTooLarge",
    "Internal",
    "LoopDetected",
    "MethodRefused",
    "Misdirected",
    "NotReady",
    "Problem",
    "ProxyError",
    "RelayError",
    "RequestTimeout",
    "TargetTooLong",
    "TimedOut",
    "Unreachable",
    "VersionRefused",
]

Blame = Literal["client", "platform", "agent", "proxy", "peer"]


class ProxyError(Exception):
    """Base of all that this package raises on purpose."""


class Problem(NamedTuple):
    """One thing wrong with a configuration: where, what, and how to mend it."""

    file: str
    line: int
    key: str
    value: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        shown = f" = {self.value!r}" if self.value else ""
        return f"{where}: {self.key}{shown}: {self.message}. {self.remedy}"


class ConfigurationProblems(ProxyError):
    """Every problem of one configuration file, in line order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RelayError(ProxyError):
    """Ends one exchange. `detail` is for operators: what happened, which value, what to do."""

    status: ClassVar[int] = 500
    default_token: ClassVar[str] = "proxy_internal_error"
    default_blame: ClassVar[Blame] = "proxy"

    refusal: str = ""
    """What it is counted as among the refusals; "" for what is none."""

    def __init__(
        self, detail: str, *, token: str = "", blame: Blame | None = None, refusal: str = ""
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.token = token or self.default_token
        self.blame: Blame = blame or self.default_blame
        if refusal:
            self.refusal = refusal


class BadMessage(RelayError):
    status = 400
    refusal = "message"
    default_token = "http_request_error"
    default_blame = "client"


class RequestTimeout(BadMessage):
    status = 408


class TargetTooLong(BadMessage):
    status = 414


class ExpectationFailed(BadMessage):
    status = 417


class HeadTooLarge(BadMessage):
    status = 431


class MethodRefused(BadMessage):
    status = 405


class VersionRefused(BadMessage):
    status = 505


class BadProxyHeader(BadMessage):
    pass


class BadRoute(BadMessage):
    refusal = "route"


class Forbidden(RelayError):
    status = 403
    refusal = "caller"
    default_token = "http_request_denied"
    default_blame = "client"


class Misdirected(RelayError):
    status = 421
    refusal = "misdirected"
    default_token = "destination_not_found"
    default_blame = "client"


class LoopDetected(RelayError):
    status = 508
    refusal = "loop"
    default_token = "proxy_loop_detected"
    default_blame = "client"


class NotReady(RelayError):
    status = 503
    default_token = "proxy_configuration_error"


class Unreachable(RelayError):
    status = 503
    default_token = "destination_unavailable"
    default_blame = "platform"


class TimedOut(RelayError):
    status = 504
    default_token = "http_response_timeout"
    default_blame = "platform"


class BadAnswer(RelayError):
    status = 502
    default_token = "http_protocol_error"
    default_blame = "platform"


class ClientGone(RelayError):
    status = 499  # never sent: there is nobody left to read it
    default_token = "connection_terminated"
    default_blame = "client"


class Internal(RelayError):
    pass
