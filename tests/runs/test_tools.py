"""The same twenty runs, recorded by different tools, are decided alike."""

import pandas as pd
import pytest

import bathymetry as bm
from runs import fixture
from runs.reading import FILES


@pytest.fixture(scope="module")
def expected():
    rows = [
        {"run": name, **config, "step": step, **{metric: values[k] for metric, values in metrics.items()}}
        for name, config, metrics in fixture.runs()
        for k, step in enumerate(fixture.STEPS)
    ]
    return decided(pd.DataFrame(rows))


def decided(runs):
    both = [
        bm.compare(runs, metric, compare="optimizer", higher_is_better=higher, cache=False)
        for metric, higher in (("val/accuracy", True), ("train/loss", False))
    ]
    return [(one.pairs, one.claims) for one in both]


@pytest.mark.parametrize("tool", ["hydra", "lightning", "tensorboard", "wandb"])
def test_verdicts_do_not_depend_on_the_tool(tool, expected):
    assert len(expected[0][0]) == 1  # one pair: adam and sgd
    assert decided(FILES / tool) == expected
