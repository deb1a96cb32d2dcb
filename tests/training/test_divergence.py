"""A member that diverges, at the first step or later, leaves every other member as it would have been."""

import pytest
import torch

from bathymetry.core.randomness import stream
from bathymetry.training import SGD, Measurement, train
from training import cases

EXAMPLES, STEPS = 130, 120


def training(bad: int | None, step: int, backend: str):
    """Train three members on one example a step; a target of one of them is far too large in the step chosen."""
    data = cases.regression(EXAMPLES)
    targets = data.y_train.expand(3, *data.y_train.shape).clone()
    if bad is not None:
        order = torch.randperm(EXAMPLES, generator=stream(0, bad, "data order", 0))
        targets[bad, order[step - 1]] = 1e38
    norms = Measurement(lambda state: state.parameters.vectors().norm(dim=1))
    options = {"members": 3, "steps": STEPS, "batch_size": 1, "targets": targets, "measurements": {"norm": norms}}
    clean = {"evaluate_on": {"test": data.test}}
    return train(cases.perceptron, data, optimizer=SGD(lr=1e-2), backend=backend, **options, **clean)


@pytest.mark.parametrize("backend", ["stacked", "vmap", "loop"])
@pytest.mark.parametrize("step", [1, 100])
@pytest.mark.parametrize("bad", [0, 1])
def test_a_divergence_in_one_member_stays_in_that_member(bad, step, backend):
    whole, broken = training(None, step, backend), training(bad, step, backend)
    assert broken.record.diverged.values.tolist() == [member == bad for member in range(3)]
    assert not whole.record.diverged.any()
    others = [member for member in range(3) if member != bad]
    for name, values in whole.parameters.items():
        assert torch.equal(broken.parameters[name][others], values[others])
    same = broken.record.sel(member=others).drop_vars("diverged")
    assert same.identical(whole.record.sel(member=others).drop_vars("diverged"))
    assert broken.record.loss.sel(member=bad, split="test")[-1].isnull()
