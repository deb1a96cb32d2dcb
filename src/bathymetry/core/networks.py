"""The network that a user means, whatever it is wrapped in."""

from torch import nn

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
        InputError: If it is none, or has no shapes or numbers yet.
    """
    if not isinstance(module, nn.Module):
        raise InputError(field, type(module).__name__, "expected a network, an nn.Module")
    while (inside := _WRAPPERS.get(type(module).__name__)) and isinstance(getattr(module, inside, None), nn.Module):
        module = getattr(module, inside)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            remedy = "its lazy layers have no shapes yet: call it once on a batch of inputs, model(x), before"
            raise InputError(field, f"{name} that is not initialised", remedy)
        if tensor.is_meta:
            remedy = 'it has no numbers: load them, or start from model.to_empty(device="cpu")'
            raise InputError(field, f"{name} on the meta device", remedy)
    return module
