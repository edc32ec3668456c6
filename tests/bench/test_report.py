"""The judgement and the page of the benchmark, from values written out here."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import picture, report

GOOD = {
    "storm_cpu_us": {"agent proxy": [330, 320, 900], "nginx": [260, 250, 270], "HAProxy": [340]},
    "keepalive_cpu_us": {"agent proxy": [41.0], "nginx": [20.0], "HAProxy": [19.0]},
    "many_errors": {"agent proxy": [0, 0, 0]},
    "latency_p99_ms": {"agent proxy": [0.5], "nginx": [-0.1], "HAProxy": [0.2]},
    "idle_rss_bytes": {"agent proxy": [45_000_001], "nginx": [11e6], "HAProxy": [15e6]},
}


def _reached(values: dict[str, dict[str, list[float]]]) -> dict[str, bool | None]:
    return {row.metric.target: row.reached for row in report.rows(values)}


def test_targets_are_judged_by_medians() -> None:
    assert _reached(GOOD) == {
        "≤ 1.3 × nginx": True,
        "< HAProxy": True,
        "≤ 2 × nginx (goal 1 ×)": False,
        "0": True,
        "≤ 5 ms": True,
        "≤ 45 MB": False,
    }


def test_as_much_as_haproxy_is_not_less_than_haproxy() -> None:
    same = {"storm_cpu_us": {"agent proxy": [340.0], "nginx": [300.0], "HAProxy": [340.0]}}
    assert _reached(same)["< HAProxy"] is False


def test_nothing_is_judged_without_the_agent_proxy_or_its_measure() -> None:
    assert set(_reached({"storm_cpu_us": {"nginx": [1.0], "HAProxy": [1.0]}}).values()) == {None}
    assert set(_reached({"tunnel_bytes": {"agent proxy": [1.0]}}).values()) == {None}


def test_table_has_medians_ratios_and_results() -> None:
    line = report.table(report.rows(GOOD)).splitlines()[2]
    assert line == (
        "| Reconnect storm, CPU per request | 330 µs | 260 µs | 340 µs | 1.27 | 0.97 "
        "| ≤ 1.3 × nginx | pass |"
    )


def test_page_changes_between_the_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.write(tmp_path, report.rows(GOOD), GOOD)
    text = page.read_text()
    assert text.startswith(f"above\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\nbelow\n")
    assert "old" not in text
    assert "330 µs" in text


def test_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text("by hand")
    with pytest.raises(ValueError, match="markers"):
        report.write(tmp_path, report.rows(GOOD), GOOD)


def test_picture_is_well_formed_and_shows_each_target() -> None:
    drawn = picture.draw(report.rows(GOOD))
    ElementTree.fromstring(drawn)
    assert drawn.count("stroke-dasharray") == 5
