"""A random walk in 10,000 dimensions: its first component explains 62 % of ten points, its plane 78 %."""

import torch

import bathymetry as bm

walk = torch.randn(10, 10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
path = bm.probes.trajectory(walk)

assert abs(path.explained_variance_ratio[0] - bm.probes.random_walk_limit(10, 1)) < 0.01
low, high = path.random_walk_spread[:, 0]
assert low <= path.explained_variance_ratio[0] <= high
