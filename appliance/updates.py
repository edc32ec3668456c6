"""Security updates of Debian by themselves, in a window of local time, or off.

Values. Neighbours: `model` holds what is wanted; `machine_verbs` above. The work is that of
unattended-upgrades and apt's own timers; the proxy itself is never updated this way.
"""

from __future__ import annotations

from typing import Final

from appliance import fields
from appliance.errors import Problem
from appliance.model import Updates
from appliance.plan import Action, Plan, Write, rendered

__all__ = ["plan", "render", "validate"]

_APT: Final = "/etc/apt/apt.conf.d/52agent-proxy-updates"
_TIMER: Final = "/etc/systemd/system/apt-daily-upgrade.timer.d/50-agent-proxy.conf"


def validate(wanted: Updates) -> list[Problem]:
    problems = []
    try:
        fields.clock_time(wanted.start)
    except ValueError as error:
        remedy = "Give hours and minutes, 00:00 to 23:59."
        problems.append(Problem("updates.start", wanted.start, str(error), remedy))
    if not 10 <= wanted.window_minutes <= 720:
        message, remedy = "is no window", "Give 10 to 720 minutes."
        shown = str(wanted.window_minutes)
        problems.append(Problem("updates.window_minutes", shown, message, remedy))
    if wanted.reboot and wanted.mode == "off":
        message, remedy = "there is nothing to restart for", "Set mode to security, or reboot off."
        problems.append(Problem("updates.reboot", "yes", message, remedy))
    return problems


def render(wanted: Updates) -> tuple[Write, ...]:
    on = wanted.mode == "security"
    origins = [
        "// security of this release, nothing else",
        "#clear Unattended-Upgrade::Origins-Pattern;",
        "Unattended-Upgrade::Origins-Pattern {",
        '  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";',
        "};",
    ]
    lines = [
        f'APT::Periodic::Update-Package-Lists "{int(on)}";',
        f'APT::Periodic::Unattended-Upgrade "{int(on)}";',
        *origins,
        'Unattended-Upgrade::MinimalSteps "true";',
        'Unattended-Upgrade::SyslogEnable "true";',
        f'Unattended-Upgrade::Automatic-Reboot "{str(wanted.reboot and on).lower()}";',
        f'Unattended-Upgrade::Automatic-Reboot-Time "{_end(wanted)}";',
    ]
    window = f"RandomizedDelaySec={wanted.window_minutes}m"
    upgrade = ["[Timer]", "OnCalendar=", f"OnCalendar=*-*-* {wanted.start}:00", window]
    return (
        Write(_APT, rendered(lines, comment="//")),
        Write(_TIMER, rendered([*upgrade, "Persistent=false"])),
    )


def _minutes(wanted: Updates) -> int:
    hours, minutes = wanted.start.split(":")
    return int(hours) * 60 + int(minutes)


def _end(wanted: Updates) -> str:
    """Return the end of the window: a restart waits for it."""
    return _clock(_minutes(wanted) + wanted.window_minutes)


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def plan(wanted: Updates) -> Plan:
    actions = (
        Action(("systemctl", "daemon-reload"), "letting systemd read its units again"),
        Action(
            ("systemctl", "try-restart", "apt-daily-upgrade.timer"),
            "setting the window",
        ),
    )
    return Plan("updates", render(wanted), actions=actions)
