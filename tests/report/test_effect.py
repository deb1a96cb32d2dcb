import math

import pytest

from bathymetry.report.page import effects
from bathymetry.stats import Part, Verdict


def verdict(kind, *parts):
    made = tuple(
        Part("undecided", estimate, interval, None, 10, "", {"network": "deep"}) for estimate, interval in parts
    )
    return Verdict(kind, "undecided", made, 10, None)


def test_a_share_of_one_half_is_neutral_and_lies_in_the_middle():
    (effect,) = effects(verdict("majority", (0.5, (0.0, 1.0))))
    assert effect.middle == effect.neutral == 50
    assert effect.low == 100 - effect.high
    assert effect.part.coordinates == {"network": "deep"}


def test_parts_of_one_claim_share_their_scale():
    narrow, wide = effects(verdict("mean_sign", (1.0, (0.5, 1.5)), (1.0, (-4.0, 6.0))))
    assert narrow.middle == wide.middle
    assert narrow.neutral == wide.neutral == 50
    assert wide.high - wide.low == pytest.approx(10 * (narrow.high - narrow.low), abs=0.1)


def test_what_has_no_interval_is_not_drawn():
    assert effects(verdict("exists", (math.nan, (math.nan, math.nan)))) == ()
