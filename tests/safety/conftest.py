from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bathymetry as bm
from bathymetry.report.publishing import publish
from safety.fuzzing import Fuzz

SMALL = {"functions": ("cos",), "networks": ((4,), (2, 2)), "samples": 20, "epochs": 3, "members": 6}


@pytest.fixture
def fuzz(request: pytest.FixtureRequest, fault: Callable[[str, str], None], unchecked: None) -> Iterator[Fuzz]:
    """Try many cases; the first line of the test's docstring is the fault in docs/faults.md."""
    one = Fuzz()
    yield one
    if one.read + one.refused:
        fault(request.function.__doc__.strip().partition("\n")[0].rstrip("."), one.outcome)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figure, which takes the longest."""
    monkeypatch.setattr(bm.Study, "draw", lambda self, results: [])


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with one small study and its page."""
    out = tmp_path_factory.mktemp("made") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bm.Study, "draw", lambda self, results: [])
        bm.run_study("depth-function", preset="smoke", out=out, **SMALL)
        publish(out)
    return out
