import json

from hypothesis import given
from hypothesis import strategies as st

from bathymetry.report.columns import columns

values = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from(["deep", "shallow", ""]), st.sampled_from([0.5, 2.0]))


def written_out(data):
    """Do what page.js does."""

    def read(column, row):
        if isinstance(column, list):
            return column[row]
        if "place" in column:
            return column["levels"][column["place"][row]]
        return column["levels"][row // column["each"] % len(column["levels"])]

    return [{name: read(column, row) for name, column in data["columns"].items()} for row in range(data["rows"])]


@given(st.lists(st.fixed_dictionaries({"x": values, "y": values}), max_size=30))
def test_rows_come_back_as_they_were(rows):
    assert written_out(json.loads(json.dumps(columns(rows)))) == rows


def test_a_grid_takes_little_more_room_than_its_values():
    rows = [
        {"x": x, "y": x * 0.123 + member, "series": series, "member": member}
        for series in ("shallow 1-250-1", "deep 1-24-16-10-8-4-1")
        for member in range(10)
        for x in range(200)
    ]
    alone = len(json.dumps([row["y"] for row in rows]))
    assert len(json.dumps(columns(rows))) < alone * 1.1
    assert written_out(columns(rows)) == rows
