"""Tables of runs come from anybody: whatever is in them is read as runs or refused."""

import json

import pytest
from hypothesis import strategies as st

import bathymetry as bm
from safety.test_data_files import damaged

CELLS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "-1", "nan", "inf", "-inf", "1e999", "9" * 400, "True", "adam", "=1+1", "None", " "]
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=12),
)
NAMES = st.sampled_from(
    ["optimizer", "seed", "step", "loss", "loss", "epoch", "run", "state", "", "Unnamed: 0", "größe"]
)


@st.composite
def table(draw):
    """A CSV file of any shape, or a plain one with damage."""
    if draw(st.booleans()):
        rows = [f"{net},{seed},{step},{seed / 7 + step}" for net in "AB" for seed in range(6) for step in range(3)]
        return draw(damaged("\n".join(["optimizer,seed,step,loss", *rows]).encode()))
    columns = draw(st.lists(NAMES, max_size=6))
    rows = draw(st.lists(st.lists(CELLS, min_size=max(0, len(columns) - 1), max_size=len(columns) + 1), max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return end.join(",".join(row) for row in [columns, *rows]).encode(errors="surrogatepass")


@st.composite
def lines(draw):
    """JSON Lines of any values, some of them damaged."""
    value = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just({"a": [1]}))
    rows = draw(st.lists(st.dictionaries(NAMES, value, max_size=6), max_size=10))
    return draw(damaged("\n".join(map(json.dumps, rows)).encode()))


def compared(path):
    return bm.compare(path, "loss", compare="optimizer", members="seed", higher_is_better=False, cache=False)


@pytest.mark.fuzz
@pytest.mark.parametrize(("ending", "cases"), [("csv", table()), ("tsv", table()), ("jsonl", lines())])
def test_tables(fuzz, tmp_path, ending, cases):
    """Tables of runs in CSV and JSON Lines with damage, any cells and any columns."""
    path = tmp_path / f"runs.{ending}"
    path.touch()
    fuzz(cases, lambda _: compared(path), arrange=path.write_bytes, writes=tmp_path)
