"""If labels are redrawn at random from ten classes, nine in ten are wrong; each member has its own label noise."""

import torch

import bathymetry as bm

true = torch.arange(10_000) % 10
drawn = bm.data.label_noise(true, 0.5, classes=10, members=range(4))

wrong = (drawn != true).double().mean(1)
assert torch.all((wrong - 0.45).abs() < 0.02)
assert not torch.equal(drawn[0], drawn[1])
