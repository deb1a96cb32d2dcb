"""Accuracies of all kinds of labels, and targets that only seem to fit their outputs."""

import pytest
import torch
from torch import nn

from bathymetry import LossSurface
from bathymetry.core.errors import InputError


def test_examples_that_the_loss_ignores_have_no_accuracy():
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 4), torch.randn(30, 3), torch.randint(0, 4, (30,))
    y[::3] = -100
    right = (model(x).argmax(1) == y)[y != -100].double().mean()
    surface = LossSurface(model, "cross_entropy", [(x[:7], y[:7]), (x[7:], y[7:])])
    torch.testing.assert_close(surface.accuracy(), right)


def test_each_of_several_labels_counts():
    torch.manual_seed(0)
    model, x, y = nn.Conv1d(3, 4, 1), torch.randn(10, 3, 5), torch.randint(0, 4, (10, 5))
    y[2, 3:] = 1
    surface = LossSurface(model, nn.CrossEntropyLoss(ignore_index=1), (x, y))
    assert surface.has_classes
    torch.testing.assert_close(surface.accuracy(), (model(x).argmax(1) == y)[y != 1].double().mean())


@pytest.mark.parametrize(("positions", "good"), [(5, True), (4, False)])
def test_a_function_of_ones_own_has_its_classes_last_if_only_that_fits(positions, good):
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 4), torch.randn(10, positions, 3), torch.randint(0, 4, (10, positions))
    surface = LossSurface(
        model, lambda out, target: nn.functional.cross_entropy(out.flatten(0, 1), target.flatten()), (x, y)
    )
    if good:
        torch.testing.assert_close(surface.accuracy(), (model(x).argmax(2) == y).double().mean())
    else:
        with pytest.raises(InputError, match="classes of shape"):
            surface.accuracy()


@pytest.mark.parametrize("shape", [(20,), (20, 3, 1), (20, 1)])
@pytest.mark.parametrize("loss", ["mse", nn.MSELoss(), nn.functional.mse_loss, nn.L1Loss(), nn.HuberLoss()])
def test_targets_of_another_shape_than_the_outputs_are_refused(shape, loss):
    for model in (nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 3))):
        with pytest.raises(InputError, match=r"targets of shape .*expected the outputs' shape, \(20, 3\)"):
            LossSurface(model, loss, (torch.randn(20, 2), torch.randn(shape)))
