import numpy as np
import xarray as xr

from bathymetry.charts import attrs
from bathymetry.charts.bar_charts import stacks
from charts.specification import chart_of, member_rows

PARTS = ["positive", "zero", "negative"]
SHARES = np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [np.nan] * 3, [0.5, 0.1, 0.4]])


def drawn(**options):
    values = xr.DataArray(SHARES, {"sign": PARTS}, ("member", "sign"), attrs=attrs("share of the eigenvalues"))
    return chart_of(stacks(values, "sign", **options))


def test_the_parts_of_a_member_add_up_to_its_total_without_gaps():
    rows = member_rows(drawn())
    assert {row["member"] for row in rows} == {0, 1, 3}
    for member in (0, 1, 3):
        own = [row for row in rows if row["member"] == member]
        assert [row["series"] for row in own] == PARTS
        np.testing.assert_allclose([row["high"] - row["low"] for row in own], SHARES[member], atol=1e-5)
        assert own[0]["low"] == 0
        assert [row["low"] for row in own[1:]] == [row["high"] for row in own[:-1]]
        np.testing.assert_allclose(own[-1]["high"], np.nansum(SHARES[member]), atol=1e-5)


def test_members_with_most_of_the_first_part_come_first():
    order = dict.fromkeys(row["member"] for row in sorted(member_rows(drawn()), key=lambda row: row["rank"]))
    assert list(order) in ([1, 0, 3], [1, 3, 0])


def test_members_without_a_bar_are_counted():
    assert "1 no critical point" in drawn(missing="no critical point").description
