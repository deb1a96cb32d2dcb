"""The network that a user means, whatever it is wrapped in, and what it holds beside its parameters."""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError

# by name: importing the classes would import what a program without them never needs
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # torch.compile
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}


def unwrapped(module: nn.Module, field: str = "model") -> nn.Module:
    """Give the network inside `torch.compile`, DataParallel and their like.

    Args:
        module: A network.
        field: What to call it in a complaint.

    Returns:
        The network whose layers have the names that its author gave them.

    Raises:
        InputError: If it is none, is compiled to TorchScript, or has no shapes or numbers yet.
    """
    if not isinstance(module, nn.Module):
        raise InputError(field, type(module).__name__, "expected a network, an nn.Module")
    while (inside := _WRAPPERS.get(type(module).__name__)) and isinstance(getattr(module, inside, None), nn.Module):
        module = getattr(module, inside)
    if isinstance(module, torch.jit.ScriptModule):
        remedy = (
            "TorchScript runs it with its own weights only: expected the original nn.Module, before torch.jit took it"
        )
        raise InputError(field, f"a {type(module).__name__}", remedy)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            remedy = "its lazy layers have no shapes yet: call it once on a batch of inputs, model(x), before"
            raise InputError(field, f"{name} that is not initialised", remedy)
        if tensor.is_meta:
            remedy = 'it has no numbers: load them, or start from model.to_empty(device="cpu")'
            raise InputError(field, f"{name} on the meta device", remedy)
    return module


def fixed_tensors(network: nn.Module, varied: Collection[str]) -> dict[str, Tensor]:
    """List what a network's outputs may depend on beside the parameters that are varied.

    Args:
        network: The network.
        varied: Names of parameters.

    Returns:
        Buffers, all other parameters, and attributes that are tensors, by name. Counts of batches, which change no
        output, are left out.
    """
    found = {name: buffer for name, buffer in network.named_buffers() if not name.endswith("num_batches_tracked")}
    found |= {name: one.detach() for name, one in network.named_parameters() if name not in varied}
    for prefix, layer in network.named_modules():
        tensors = {name: value for name, value in vars(layer).items() if isinstance(value, Tensor)}
        found |= {f"{prefix}.{name}" if prefix else name: value.detach() for name, value in tensors.items()}
    return found


def running_statistics(network: nn.Module) -> list[str]:
    """Name the layers that keep statistics of what they saw while training, as BatchNorm does.

    Args:
        network: The network.

    Returns:
        Their names.
    """
    layers = network.named_modules()
    return [name for name, layer in layers if is_normalisation(layer) and layer._buffers["running_mean"] is not None]


def is_normalisation(layer: nn.Module) -> bool:
    """Tell whether a layer normalises by statistics of its batch while it trains, and by kept ones afterwards.

    Args:
        layer: Any layer; one that is not PyTorch's is known by a buffer `running_mean`.

    Returns:
        Whether it does.
    """
    return isinstance(layer, nn.modules.batchnorm._NormBase) or "running_mean" in layer._buffers


def norms(vectors: Float[Tensor, "row dimension"]) -> Float[Tensor, " row"]:
    """Give the length of each vector.

    Args:
        vectors: A row each.

    Returns:
        ‖v‖₂, in the dtype of the vectors.

    Example:
        >>> norms(torch.tensor([[3e-25, 4e-25], [3e30, 4e30]]))
        tensor([5.0000e-25, 5.0000e+30])
    """
    lengths: Tensor = vectors.norm(dim=1)
    odd = (lengths < torch.finfo(vectors.dtype).smallest_normal ** 0.25) | lengths.isinf()
    if bool(odd.any()):
        scale = power_of_two(torch.linalg.vector_norm(vectors[odd], torch.inf, dim=1))
        lengths = lengths.masked_scatter(odd, (vectors[odd] / scale[:, None]).norm(dim=1) * scale)
    return lengths


def power_of_two(size: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Give powers of two near sizes, to divide by before squaring.

    Args:
        size: Numbers from 0.

    Returns:
        Powers between 2⁻¹²⁰ and 2¹²⁰; 1 for 0.

    Example:
        >>> power_of_two(torch.tensor([0.0, 3.0, 1e-3]))
        tensor([1.0000e+00, 4.0000e+00, 1.9531e-03])
    """
    exponent = torch.frexp(size.nan_to_num(0.0)).exponent.clamp(-120, 120)
    return torch.ldexp(torch.ones_like(size), exponent)
