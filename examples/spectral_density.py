"""A twentieth of the eigenvalues weighs a twentieth."""

import torch

import bathymetry as bm
from bathymetry.linalg.estimates import spectral_density

values = torch.cat([torch.full((20,), 10.0), torch.zeros(380)]).double()
density = spectral_density(bm.linalg.MatrixOperator(torch.diag(values)), probes=40, steps=10)
share, error = density.mass(9, 11)

assert abs(share - 0.05) < 4 * error < 0.04
