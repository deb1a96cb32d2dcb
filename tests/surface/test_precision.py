"""Products in float32 have float32's precision, whatever PyTorch's switches allow a GPU to round."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from bathymetry import LossSurface, mlp


@pytest.fixture(params=["highest", "high", "newer switches"])
def allowed(request: pytest.FixtureRequest) -> Iterator[Callable[[], object]]:
    """What a program may have set."""
    newer = request.param == "newer switches"
    if newer and not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("PyTorch before 2.9")
    owner, name = (torch.backends.cudnn.conv, "fp32_precision") if newer else (torch.backends.cuda.matmul, "allow_tf32")
    before = getattr(owner, name)
    setattr(owner, name, "tf32" if newer else request.param == "high")
    yield lambda: getattr(owner, name)
    setattr(owner, name, before)


def convolution() -> nn.Module:
    layers = [nn.Conv2d(3, 16, 3), nn.Tanh(), nn.Conv2d(16, 16, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, 5))


NETWORKS = {
    "convolution": (convolution, (3, 12, 12)),
    "perceptron": (lambda: mlp([30, 64, 64, 5]), (30,)),
    "recurrent": (lambda: Last(), (7, 6)),
}


class Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


@pytest.mark.parametrize("network", NETWORKS)
def test_a_product_in_float32_agrees_with_float64(network, device, allowed):
    build, shape = NETWORKS[network]
    before = allowed()
    torch.manual_seed(0)
    model = build().to(device)
    x, y = torch.randn(64, *shape), torch.randint(0, 5, (64,))
    vector = torch.randn(sum(p.numel() for p in model.parameters()), device=device)
    single = LossSurface(model, "cross_entropy", (x, y)).hvp(vector).double()
    double = LossSurface(model, "cross_entropy", (x, y), dtype=torch.float64).hvp(vector)
    assert float((single - double).norm() / double.norm()) < 1e-5
    assert allowed() == before
