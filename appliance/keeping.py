"""The appliance's own settings file: read, changed, put in force together with what follows.

Shell. Neighbours: `model` is the file, `commit_verbs.carry_out` applies; the verbs of network,
time, access, log and updates above.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from appliance import facts, firewall, model
from appliance.commit_verbs import carry_out
from appliance.errors import Problem, Problems
from appliance.facts import Facts
from appliance.model import Appliance
from appliance.plan import Plan, Write, joined
from appliance.self_test import SelfTest
from appliance.verb import Context, Result
from proxy.settings import Settings

__all__ = ["CONFIRM_S", "as_data", "firewall_of", "keep", "load", "settled", "stored"]

CONFIRM_S: Final = 120.0


def load(context: Context) -> Appliance:
    """Return the settings in force. Raises: Problems."""
    return model.from_json(context.system.read(model.PATH))


def settled(context: Context) -> tuple[Facts, Settings]:
    """Return the facts, with the settings of a proxy.ini that is right. Raises: Problems."""
    found = facts.gather(context.system, context.conf)
    if found.settings is None:
        raise Problems(Problem("proxy.ini", "", text, "Mend it first.") for text in found.problems)
    return found, found.settings


def firewall_of(context: Context, settings: Settings | None, wanted: Appliance) -> Plan:
    """Return the plan that makes the firewall follow; an empty one where its rules stay."""
    plan = firewall.plan(settings, wanted)
    if all(context.system.read(one.path) == one.content for one in plan.writes):
        return Plan(plan.title)
    return plan


def stored(wanted: Appliance) -> Write:
    return Write(model.PATH, model.to_json(wanted))


def keep(context: Context, wanted: Appliance, *plans: Plan, confirm: bool = False) -> Result:
    """Write the settings and what follows from them. Raises: Refusal."""
    title = plans[0].title
    settings, _ = facts.configured(context.system, context.conf)
    now = load(context)
    lets_in = (now.access, now.firewall) != (wanted.access, wanted.firewall)
    rules = firewall_of(context, settings, wanted) if lets_in else Plan(title)
    plan = joined(title, Plan(title, (stored(wanted),)), rules, *plans)
    if not confirm:
        return carry_out(context, plan)
    if settings is None:
        return carry_out(context, plan, confirm_s=CONFIRM_S)  # no proxy yet: nothing to test
    test = SelfTest(context.system, context.conf, context.stop)
    return carry_out(context, plan, confirm_s=CONFIRM_S, self_test=test)


def as_data(value: object) -> Any:
    """Return a part of the settings as JSON has it."""
    assert dataclasses.is_dataclass(value) and not isinstance(value, type)
    return dataclasses.asdict(value)
