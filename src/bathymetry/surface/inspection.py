"""What has to be known of a network and a loss before they make a surface, found out by asking them.

Twice with other random numbers, so that whatever is random shows itself; with a batch and its halves, so that examples
which depend on one another do; and with tensors that count how often they are written into.
"""

import torch
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch
from bathymetry.surface.derivatives import Derivatives
from bathymetry.surface.network import Network
from bathymetry.surface.randomness import unstirred
from bathymetry.training.criterion import Criterion

_FEW = 8  # examples that are asked about together and in halves


def inspect(network: Network, criterion: Criterion, derivatives: Derivatives, theta: Tensor, batch: Batch) -> None:
    """Find out whether a network is random, couples its examples, or writes into what it is handed.

    Args:
        network: The network, which keeps what was found.
        criterion: The loss.
        derivatives: How to ask.
        theta: Where.
        batch: The first of the data.

    Raises:
        InputError: If network or loss refuse the data, keep what they write, or are random.
    """
    losses = []
    with network.watched() as watch, network.measuring():
        for seed in (0, 1):
            with unstirred(seed):
                before = torch.get_rng_state()
                losses.append(_asked(network, derivatives, theta[None], batch))
                watch.drew |= not torch.equal(before, torch.get_rng_state())
    if watch.kept_something:
        remedy = "its forward pass writes into a tensor that it keeps: register that as a buffer"
        raise InputError("model", network.kind, remedy)
    if not torch.equal(losses[0], losses[1]) and not bool(losses[0].isnan() & losses[1].isnan()):
        why = network.unsteady(watch, lambda: _asked(network, derivatives, theta[None], batch))
        raise why
    network.coupled = _halves_differ(network, criterion, derivatives, theta, batch)


def _halves_differ(
    network: Network, criterion: Criterion, derivatives: Derivatives, theta: Tensor, batch: Batch
) -> bool:
    if batch.rows < 2:
        return False
    few = next(batch.split(_FEW))
    halves = list(few.split((few.rows + 1) // 2))
    weights = [criterion.weight(half.targets, half.rows) for half in halves]
    try:
        with network.measuring():
            whole = derivatives.loss(theta[None], few)
            parts = [w * derivatives.loss(theta[None], half) for w, half in zip(weights, halves, strict=True) if w > 0]
    except InputError:  # not even defined on fewer examples
        return True
    total = sum(weights) if criterion.is_mean else 1.0
    if not parts or not bool(whole.isfinite().all()):
        return False
    difference = (torch.stack(parts).sum(0) / total - whole).abs()
    scale = torch.stack(parts).abs().sum(0) / total + whole.abs()
    return bool((difference > 1e3 * network.precision * scale).any())


def _asked(network: Network, derivatives: Derivatives, points: Tensor, batch: Batch) -> Tensor:
    try:
        return derivatives.loss(points, batch)[0]
    except InputError:
        raise
    except Exception as error:
        shape = [tuple(tensor.shape) for tensor in batch.tensors()]
        remedy = f"the network or the loss refuses them ({network.explained(error, batch)})"
        raise InputError("data", f"tensors of shape {shape}", remedy) from error
