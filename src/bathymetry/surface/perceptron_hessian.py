"""The whole Hessian of a small perceptron, from the second derivatives with respect to its pre-activations.

A weight enters through z = Wa alone, so with ā = (a, 1), B = ∂zᵣ/∂z the network's own Jacobians and

    S[p,q] = Σᵣ B[r,p]ᵀ Dᵣ B[r,q]      D of the output: ∂²ℓ/∂z²; of a hidden layer: diag(φ″e)

    ∂²ℓ / ∂Wₗ[i,j] ∂Wₘ[k,h] = āₗ₋₁[j] S[i,k] āₘ₋₁[h] + [l < m] āₗ₋₁[j] δₘ[k] ∂aₘ₋₁[h]/∂zₗ[i]

summed over examples by matrix products. That costs P² multiplications an example and no pass of differentiation.
"""

from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.surface.perceptron_point import PerceptronPoint


def perceptron_hessian(point: PerceptronPoint) -> Float[Tensor, "member parameter parameter"]:
    """Put a perceptron's Hessian together.

    Args:
        point: Its activations, slopes and errors.

    Returns:
        Hessians of the batch's loss, in the order of θ: weight and bias of each layer.
    """
    members = len(point.weights[0])
    extended = [_extended(below, members) for below in point.activations[:-1]]
    response, curvature = _unit_derivatives(point)
    starts = [0, *accumulate(weight.shape[1] for weight in point.weights)]
    blocks: dict[tuple[int, int], Tensor] = {}
    for lower in range(len(extended)):
        for upper in range(lower, len(extended)):
            rows, columns = slice(starts[lower], starts[lower + 1]), slice(starts[upper], starts[upper + 1])
            block = _paired(curvature[:, rows, columns], extended[lower], extended[upper])
            if upper > lower:
                fed = response[upper - 1][:, :, rows]  # ∂aₘ₋₁/∂zₗ
                crossed = _paired(fed.transpose(1, 2), extended[lower], point.errors[upper])
                block[..., :-1] += crossed.transpose(3, 4)
            blocks[lower, upper] = block
    return _assembled(blocks, len(extended))


def _extended(below: Tensor, members: int) -> Tensor:
    shared = below.expand(members, *below.shape[-2:])
    return torch.cat([shared, shared.new_ones(members, 1, shared.shape[2])], dim=1)


def _unit_derivatives(point: PerceptronPoint) -> tuple[list[Tensor], Float[Tensor, "member unit unit example"]]:
    """Give ∂aᵣ/∂z of all units so far, layer by layer, and S."""
    response: list[Tensor] = []
    units = sum(weight.shape[1] for weight in point.weights)
    members, _, examples = point.errors[0].shape
    curvature = point.errors[0].new_zeros(members, units, units, examples)
    for layer, weight in enumerate(point.weights):
        outputs = weight.shape[1]
        own = torch.eye(outputs, dtype=weight.dtype, device=weight.device)[None, :, :, None]
        jacobian = own.expand(members, outputs, outputs, examples)
        if layer > 0:
            below = response[-1]
            carried = torch.bmm(weight, below.flatten(2)).view(members, outputs, *below.shape[2:])
            jacobian = torch.cat([carried, jacobian], dim=2)
        so_far = jacobian.shape[2]
        if layer < len(point.slopes):
            slope, bend = point.slopes[layer], point.bends[layer]
            response.append(jacobian * slope.unsqueeze(2))
            if bend is None:
                continue
            curved = jacobian * (bend * slope).unsqueeze(2)
        else:
            curved = _through_loss(point, jacobian)
        for unit in range(outputs):
            # in place, as temporaries of this size cost more than their arithmetic
            curvature[:, :so_far, :so_far].addcmul_(curved[:, unit, :, None], jacobian[:, unit, None, :])
    return response, curvature


def _through_loss(point: PerceptronPoint, jacobian: Tensor) -> Tensor:
    if point.probabilities is None:
        return jacobian * point.scale
    likely = point.probabilities.unsqueeze(2)
    weighted = likely * jacobian
    return (weighted - likely * weighted.sum(1, keepdim=True)) * point.scale


def _paired(
    pairs: Float[Tensor, "member i k example"], first: Float[Tensor, "member j example"], second: Tensor
) -> Float[Tensor, "member i j k h"]:
    """Sum pairs[i,k] · first[j] · second[h] over examples."""
    members, rows, columns, examples = pairs.shape
    outer = (first[:, :, None] * second[:, None]).view(members, -1, examples)
    product = torch.bmm(pairs.reshape(members, rows * columns, examples), outer.transpose(1, 2))
    return product.view(members, rows, columns, first.shape[1], -1).transpose(2, 3)


def _assembled(blocks: dict[tuple[int, int], Tensor], layers: int) -> Tensor:
    # a layer's parameters are its weights, row after row, and then its biases
    rows = []
    for lower in range(layers):
        row = []
        for upper in range(layers):
            block = blocks[lower, upper] if lower <= upper else blocks[upper, lower].permute(0, 3, 4, 1, 2)
            ordered = torch.cat([block[:, :, :-1].flatten(1, 2), block[:, :, -1]], dim=1)
            row.append(torch.cat([ordered[..., :-1].flatten(2), ordered[..., -1]], dim=2))
        rows.append(torch.cat(row, dim=2))
    return torch.cat(rows, dim=1)
