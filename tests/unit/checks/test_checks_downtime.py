"""Downtime: a figure only where both meters were right about a known pause and agree about the moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.checks.downtime import Calibration, Distribution, Downtime, Iteration, distribution, downtime

CALIBRATIONS = (
    Calibration(0.25, 0.25, 0.31, 0.27, 0.30),
    Calibration(1.0, 1.0, 1.05, 1.02, 1.06),
    Calibration(5.0, 5.0, 5.08, 5.03, 5.1),
)
MOVES = tuple(Iteration((100 + n) / 100, (110 + n) / 100) for n in range(30))


def judged(iterations: tuple[Iteration, ...] = MOVES, calibrations: tuple[Calibration, ...] = CALIBRATIONS) -> Downtime:
    return downtime(iterations, calibrations, accelerator="tcg")


def test_a_figure_with_its_distribution_and_its_stamp() -> None:
    found = judged()
    assert found.withheld == ()
    assert found.guest == Distribution(1.0, 1.14, 1.28, 1.29)
    assert found.headline == "1.14 s (min 1.00, p95 1.28, max 1.29, n=30), functional only: hosts under tcg"
    assert replace(found, accelerator="hardware").headline == "1.14 s (min 1.00, p95 1.28, max 1.29, n=30)"


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        (judged(MOVES[:3]), "withheld (n=3): 3 iterations of at least 30"),
        (judged(()), "withheld (n=0): 0 iterations of at least 30"),
        (judged(calibrations=CALIBRATIONS[:1]), "withheld (n=30): not calibrated on a pause of 1 s, 5 s"),
        (
            judged(calibrations=(replace(CALIBRATIONS[0], guest=0.02), *CALIBRATIONS[1:])),
            "withheld (n=30): the guest meter read 0.020 s of a pause of 0.25 s (0.250..0.310)",
        ),
        (
            judged(calibrations=(*CALIBRATIONS[:2], replace(CALIBRATIONS[2], network=9.0))),
            "withheld (n=30): the network meter read 9.000 s of a pause of 5 s (5.000..5.080)",
        ),
        (
            judged(tuple(replace(one, network=one.network + 2) for one in MOVES)),
            "withheld (n=30): the meters disagree: p50 1.145 s in the guest, 3.245 s on its network",
        ),
    ],
)
def test_what_cannot_be_trusted_is_withheld_and_says_why(found: Downtime, headline: str) -> None:
    assert found.headline == headline
    assert found.to_json()["headline"] == headline


def test_what_is_withheld_is_shown_all_the_same() -> None:
    document = judged(MOVES[:3]).to_json()
    assert document["guest"] == {"min": 1.0, "p50": 1.01, "p95": 1.02, "max": 1.02}
    assert document["n"] == len(document["iterations"]) == 3
    assert document["calibrations"][0] == {"asked": 0.25, "least": 0.25, "most": 0.31, "guest": 0.27, "network": 0.3}


def test_nothing_has_no_distribution_and_one_value_is_all_of_its_own() -> None:
    assert distribution([]) is None
    assert distribution([2.0]) == Distribution(2.0, 2.0, 2.0, 2.0)
