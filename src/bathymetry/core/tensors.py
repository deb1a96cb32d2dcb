"""Networks without their wrappers and their tensors, and norms."""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.showing import kind_of

# by name: importing the classes would import what a program without them never needs
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # torch.compile
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}


def unwrapped(module: nn.Module, field: str = "model") -> nn.Module:
    """Find the network inside `torch.compile`, DataParallel and their like; check that it has shapes and numbers."""
    if not isinstance(module, nn.Module):
        raise InputError(field, type(module).__name__, "expected a network, an nn.Module")
    while (inside := _WRAPPERS.get(type(module).__name__)) and isinstance(getattr(module, inside, None), nn.Module):
        module = getattr(module, inside)
    if isinstance(module, torch.jit.ScriptModule):
        remedy = "TorchScript runs it with its own weights only: expected the nn.Module that torch.jit was called on"
        raise InputError(field, kind_of(module), remedy)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            remedy = "its lazy layers have no shapes yet: call it once on a batch of inputs, model(x), before"
            raise InputError(field, f"{name} that is not initialised", remedy)
        if tensor.is_meta:
            remedy = 'it has no numbers: load them, or start from model.to_empty(device="cpu")'
            raise InputError(field, f"{name} on the meta device", remedy)
    return module


def fixed_tensors(network: nn.Module, varied: Collection[str]) -> dict[str, Tensor]:
    """List buffers, other parameters and attributes that are tensors, by name; counts of batches change no output."""
    found = {name: buffer for name, buffer in network.named_buffers() if not name.endswith("num_batches_tracked")}
    found |= {name: one.detach() for name, one in network.named_parameters() if name not in varied}
    for prefix, layer in network.named_modules():
        tensors = {name: value for name, value in vars(layer).items() if isinstance(value, Tensor)}
        found |= {f"{prefix}.{name}" if prefix else name: value.detach() for name, value in tensors.items()}
    return found


def running_statistics(network: nn.Module) -> list[str]:
    """Name the layers with running statistics, such as BatchNorm."""
    layers = network.named_modules()
    return [name for name, layer in layers if is_normalisation(layer) and layer._buffers["running_mean"] is not None]


def is_normalisation(layer: nn.Module) -> bool:
    """Tell whether a layer normalises by batch statistics in training; other libraries' are known by `running_mean`."""
    return isinstance(layer, nn.modules.batchnorm._NormBase) or "running_mean" in layer._buffers


def norms(vectors: Float[Tensor, "row dimension"]) -> Float[Tensor, " row"]:
    """Compute ‖v‖₂ of each row without overflow or underflow."""
    lengths: Tensor = vectors.norm(dim=1)
    odd = (lengths < torch.finfo(vectors.dtype).smallest_normal ** 0.25) | lengths.isinf()
    if bool(odd.any()):
        scale = power_of_two(torch.linalg.vector_norm(vectors[odd], torch.inf, dim=1))
        lengths = lengths.masked_scatter(odd, (vectors[odd] / scale[:, None]).norm(dim=1) * scale)
    return lengths


def power_of_two(size: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Round sizes to powers of two from 2⁻¹²⁰ to 2¹²⁰, to divide by before squaring; 1 for 0."""
    exponent = torch.frexp(size.nan_to_num(0.0)).exponent.clamp(-120, 120)
    return torch.ldexp(torch.ones_like(size), exponent)
