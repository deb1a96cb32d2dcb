"""Gradient descent on a parabola diverges exactly when its curvature exceeds 2/η."""

import torch

import bathymetry as bm

x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
model = torch.nn.Linear(3, 1, bias=False).double()
sharpness = bm.probes.eigenvalues(bm.LossSurface(model, "mse", (x, torch.zeros(3, 1).double())), k=1).values.item()


def loss_after(rate: float) -> float:
    """Where 500 steps of gradient descent at this rate end."""
    weight = torch.ones(3, dtype=torch.float64)
    for _ in range(500):
        weight = weight - rate * 2 / 3 * x.T @ (x @ weight)
    return float((x @ weight).square().mean())


assert abs(sharpness - 6.0) < 1e-9  # 2 · 3² / 3
assert loss_after(0.99 * 2 / sharpness) < 1e-3 < 1e3 < loss_after(1.01 * 2 / sharpness)
