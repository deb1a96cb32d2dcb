import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.store.chunks import config_hash


@pytest.mark.parametrize(
    ("name", "module"),
    [("mse", nn.MSELoss()), ("mse", nn.MSELoss(reduction="mean")), ("cross_entropy", nn.CrossEntropyLoss())],
)
def test_a_loss_known_by_name_and_the_same_loss_as_a_module_name_the_same_chunk(name, module):
    targets = torch.zeros(4, 3) if name == "mse" else torch.tensor([0, 1, 2, 0])
    one, other = (
        bm.TrainingConfig(bm.MLPConfig((2, 3)), (torch.zeros(4, 2), targets), epochs=3, loss=loss)
        for loss in (name, module)
    )
    assert config_hash(one.description()) == config_hash(other.description())
