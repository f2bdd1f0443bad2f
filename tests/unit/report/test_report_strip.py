"""A strip plot is well-formed, says in words what it shows, and lets nothing act."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.report.strip import strip

TAGS = ("svg", "title", "desc", "text", "line", "g", "circle")
TIMES = st.floats(max_value=1e9) | st.sampled_from([math.nan, math.inf])
SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own


def test_every_value_is_a_dot_and_all_of_it_is_said_in_words() -> None:
    root = parsed(strip("downtime, live", [("guest", [1.2, 1.4, 3.1]), ("network", [1.25])]))
    assert len(root.findall(f".//{SVG}circle")) == 4
    assert root.findtext(f"{SVG}title") == "downtime, live"
    assert root.findtext(f"{SVG}desc") == (
        "guest: 3 values, 1.20 to 3.10 s, median 1.40 s; network: 1 value, 1.25 to 1.25 s, median 1.25 s"
    )
    assert (root.get("role"), root.get("aria-label")) == ("img", "downtime, live")
    assert [each.text for each in root.findall(f"{SVG}text")][-5:] == ["0 s", "1 s", "2 s", "3 s", "4 s"]


def test_nothing_is_said_to_be_nothing() -> None:
    root = parsed(strip("x", [("guest", []), ("network", [math.nan, math.inf])]))
    assert root.findall(f".//{SVG}circle") == []
    assert root.findtext(f"{SVG}desc") == "guest: nothing; network: nothing"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.lists(TIMES, max_size=20))
def test_whatever_it_is_told_it_is_well_formed_and_dots_stay_inside(title: str, name: str, values: list[float]) -> None:
    root = parsed(strip(title, [(name, values)]))
    assert {each.tag for each in root.iter()} <= {f"{SVG}{tag}" for tag in TAGS}
    assert all(84 <= float(dot.get("cx", "")) <= 352 for dot in root.findall(f".//{SVG}circle"))
