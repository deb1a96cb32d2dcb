"""½(w₁w₂ − 1)² has a saddle at the origin, and a search that begins near it ends there."""

import torch

import bathymetry as bm


class Product(torch.nn.Module):
    """Two weights, multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([0.1, -0.2], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return x * self.weights.prod()


one = torch.ones(1, 1, dtype=torch.float64)
surface = bm.LossSurface(Product(), lambda output, target: (output - target).square().mean() / 2, (one, one))
found = bm.probes.critical_point(surface)
index = bm.probes.curvature_index(surface, found.theta)

assert found.converged
assert torch.allclose(found.theta, torch.zeros(2).double(), atol=1e-7)
assert (index.positive, index.negative) == (1, 1)
