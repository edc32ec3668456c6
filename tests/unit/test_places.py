"""places: who gets a connection when there are many, and who does not."""

from __future__ import annotations

from proxy.callers import Caller
from proxy.places import Places
from proxy.settings import Settings, parse

LIMITS = "[limits]\nconnections_per_source = 3\nplatform_share = 20\nzone_share = 50\n"
ZONES = "[zones]\n[[one]]\nnetworks = 10.1.0.0/16\n[[two]]\nnetworks = 10.2.0.0/16\n"
PLATFORM = Caller("platform", "192.0.2.1", "-")


def settings_of(text: str) -> Settings:
    return parse(text.splitlines())


def agent(number: int, zone: str = "one") -> Caller:
    return Caller("agent", f"10.1.0.{number}", zone)


def test_one_zone_leaves_room_for_the_others() -> None:
    places = Places(settings_of(LIMITS + ZONES), 20)
    for number in range(10):
        assert places.refusal(agent(number), number) == ""
        places.take(agent(number))
    assert places.refusal(agent(99), 10) == "over_zone_limit"
    assert places.refusal(agent(99, "two"), 10) == ""
    assert places.refusal(PLATFORM, 10) == ""
    assert (places.held_by_zone("one"), places.held_by_zone("two")) == (10, 0)
    places.give_back(agent(3))
    assert places.refusal(agent(99), 9) == ""


def test_zone_that_is_alone_may_have_all_places_of_agents() -> None:
    places = Places(settings_of(LIMITS), 20)
    for number in range(16):
        assert places.refusal(agent(number, "default"), number) == ""
        places.take(agent(number, "default"))
    assert places.refusal(agent(99, "default"), 16) == "over_connection_limit"
    assert places.refusal(PLATFORM, 16) == ""
    assert places.refusal(PLATFORM, 20) == "over_connection_limit"


def test_one_source_has_its_share_in_each_zone() -> None:
    places = Places(settings_of(LIMITS + ZONES), 100)
    for held in range(3):
        assert places.refusal(agent(1), held) == ""
        places.take(agent(1))
        places.take(PLATFORM)
    assert places.refusal(agent(1), 6) == "over_source_limit"
    assert places.refusal(agent(1, "two"), 6) == "", "the same address there is another agent"
    assert places.refusal(PLATFORM, 6) == "", "the platform is not counted"
    places.give_back(agent(1))
    assert places.refusal(agent(1), 5) == ""


def test_limits_change_while_places_are_held() -> None:
    places = Places(settings_of(LIMITS + ZONES), 20)
    for number in range(5):
        places.take(agent(number))
    places.set_limits(settings_of(LIMITS.replace("zone_share = 50", "zone_share = 20") + ZONES), 20)
    assert places.refusal(agent(99), 5) == "over_zone_limit"


def test_somebody_always_gets_in() -> None:
    smallest = LIMITS.replace("zone_share = 50", "zone_share = 1")
    assert Places(settings_of(smallest + ZONES), 16).zone_most == 1
