"""What is typed: every setting of every study takes what it can use and refuses the rest before anything is written."""

import contextlib
import io
import os

import pytest
from hypothesis import strategies as st

from bathymetry.cli.main import main
from bathymetry.cli.parsing import UsageError
from bathymetry.core.showing import flag_of
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.settings import as_text

STUDIES = {name: find(name) for name in SHIPPED}
NUMBERS = "nan -nan inf -inf 1e400 1e-400 -1 -0 0 1 2 1e3 0x10 1_000 ٣ ½ 1,5 5,5 5,,5 100000,100000 (5,5) 784,30,10 1 2"
NAMES = "None True all auto cuda CPU digits -- - --seed λ {} [] %s $(id) `id` __import__('os') 9**9**9 relu(x) sin(x)/0"
PLACES = "../../etc/passwd / . ~ ~root /dev/zero /dev/null /proc/self/mem pipe.npz link.npz folder https://127.0.0.1/x"
UNUSUAL = [
    "",
    " ",
    "\0",
    "\n",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "\udcff",
    "x" * 5000,
    "1," * 1000,
    "exp(exp(x))",
    "9" * 5000,
]
LARGE = ["9" * 19, "9" * 400, str(2**63), str(-(2**63)), "1" + "0" * 30, "100001", "1000000000"]
HOSTILE = [*NUMBERS.split(), *NAMES.split(), *PLACES.split(), *UNUSUAL, *LARGE]
TYPED = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.integers().map(str), st.floats().map(repr))


@st.composite
def lines(draw):
    """A command line with one or two settings of a study, as it is typed in every way."""
    name = draw(st.sampled_from(list(STUDIES)))
    usual = dict(STUDIES[name].preset("smoke")) | {"preset": "smoke"}
    typed = draw(st.lists(st.sampled_from(list(usual)), min_size=1, max_size=2))
    words = [] if "preset" in typed else ["--preset", "smoke"]
    words += ["--data", "digits"] if "data" in usual and "data" not in typed else []
    for field in typed:
        flag, good = flag_of(field), as_text(usual[field]) or ("",)
        values = draw(st.lists(TYPED, max_size=3) | st.lists(TYPED | st.sampled_from(good), min_size=1, max_size=1))
        words += [f"{flag}={values[0]}", *values[1:]] if values and draw(st.booleans()) else [flag, *values]
    return ["run", name, "--plan", *words]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BATHYMETRY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "link.npz").symlink_to("/dev/zero")
    return tmp_path


def answer(words):
    """Run a command; return its refusal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    said = err.getvalue()
    assert status in (0, 2), status
    assert (status == 2) == bool(said), said
    if said:
        assert said.startswith("bathymetry: ")
        assert said.endswith("\n")
    return said.removeprefix("bathymetry: ").removesuffix("\n")


def test_settings(fuzz, folder):
    """Settings typed after a study, in every way and with any text."""

    def attempt(words):
        before = {*os.listdir(folder), "cache"}
        said = answer(words)
        assert {*os.listdir(folder), "cache"} == before
        if said:
            raise UsageError(said)

    fuzz.most_seconds = 15  # which a plan of a million networks takes
    fuzz(lines(), attempt, writes=folder)
