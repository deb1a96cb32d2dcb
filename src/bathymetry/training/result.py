"""The result of a training: records of every member and the trained parameters, in memory and in a file."""

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from html import escape
from os import PathLike
from typing import Any

import numpy as np
import safetensors.torch
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import DamagedError, InputError, abridged, is_whole, path_of
from bathymetry.core.identity import canonical, digest
from bathymetry.core.showing import short
from bathymetry.core.system import get, put
from bathymetry.core.tensors import fixed_tensors, running_statistics
from bathymetry.models.mlp import MLPConfig, parameter_count
from bathymetry.training.checkpoint import Checkpoint, packed, unpacked
from bathymetry.training.ensemble import build_members, constants

_FORMAT = 2


class StackedParameters(dict[str, Tensor]):
    """Parameters of all members, name → (member, *shape), with one of the networks if it is known."""

    def __init__(self, tensors: Mapping[str, Tensor], network: nn.Module | None) -> None:
        super().__init__(tensors)
        self.network = network


@dataclass(frozen=True)
class Origin:
    """How the networks were built."""

    architecture: str
    seed: int
    mlp: MLPConfig | None
    bare: bool  # whether the networks hold nothing but their parameters


@dataclass(frozen=True, repr=False)
class Trained:
    """An ensemble after training.

    Args:
        record: What was recorded: `loss`, and `accuracy` where there are classes, over (split, member, epoch), where
            split is "train" and "test" or the names of `evaluate_on`; every measurement by its name; NaN from where a
            member diverged. `diverged` and `stopped_at` (an epoch, −1 for never) say how each member ended.
        parameters: The trained parameters, name → (member, *shape).
        snapshots: Parameters at the chosen epochs and at the end: epoch → name → (member, *shape).
        members: Numbers of the members.
        backend: How they were trained: "stacked", "vmap" or "loop".
        note: Why members were trained one by one, if "auto" chose that; empty otherwise.

    Example:
        >>> from bathymetry.data import function
        >>> from bathymetry.models import mlp
        >>> from bathymetry.training import train
        >>> trained = train(lambda: mlp([1, 8, 1]), function("cos"), members=3, epochs=20, snapshots=[0, 10])
        >>> trained.theta.shape, trained.trajectory.shape
        (torch.Size([3, 25]), torch.Size([3, 3, 25]))
        >>> trained.model(2)(torch.zeros(1, 1)).shape  # member 2 as an ordinary network
        torch.Size([1, 1])
    """

    record: xr.Dataset
    parameters: Mapping[str, Tensor]
    snapshots: Mapping[int, Mapping[str, Tensor]]
    members: range
    backend: str
    note: str
    _origin: Origin
    _modules: tuple[nn.Module, ...]  # empty if the networks can't be built

    def __post_init__(self) -> None:
        network = self._modules[0] if self._modules else None
        object.__setattr__(self, "parameters", StackedParameters(self.parameters, network))
        snapshots = {epoch: StackedParameters(one, network) for epoch, one in self.snapshots.items()}
        object.__setattr__(self, "snapshots", snapshots)

    def __repr__(self) -> str:
        first, last = self.members.start, self.members.stop - 1
        who = f"members {first} to {last}" if last > first else f"member {first}"
        size = sum(stacked[0].numel() for stacked in self.parameters.values())
        words = [
            f"{who} of {self._origin.architecture}",
            f"{size:,} parameters",
            f"{int(self.record.epoch[-1]):,} epochs",
        ]
        diverged = int(self.record.diverged.sum())
        if "loss" in self.record and diverged < len(self.members):
            losses = self.record.loss.isel(split=0, epoch=-1)
            words.append(f"median of the last {losses.split.item()} loss {short(float(np.nanmedian(losses)))}")
        if diverged:
            words.append(f"{diverged} diverged")
        return f"Trained({', '.join(words)})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.record._repr_html_()}"

    @property
    def theta(self) -> Float[Tensor, "member parameter"]:
        """Every member's trained parameters as one vector, as `LossSurface` lays them out.

        Refused if members differ in anything else, such as the running statistics of BatchNorm.
        """
        self._check_parameters_suffice()
        return _flat(self.parameters, self.parameters)

    @property
    def trajectory(self) -> Float[Tensor, "member snapshot parameter"]:
        """Every member's θ at each snapshot, in the order of `snapshots`."""
        if not self.snapshots:
            raise InputError("snapshots", "none", "train with snapshots=range(0, epochs + 1, 10) or the like")
        self._check_parameters_suffice()
        return torch.stack([_flat(one, self.parameters) for one in self.snapshots.values()], dim=1)

    def model(self, member: int) -> nn.Module:
        """Return a copy of a member as an ordinary network, in evaluation mode.

        Args:
            member: Its number.

        Returns:
            The network with the parameters it ended with.

        Raises:
            InputError: If there is no such member, or the networks can't be built.
        """
        if member not in self.members:
            raise InputError("member", member, f"expected one from {self.members.start} to {self.members.stop - 1}")
        self._check_networks()
        position = self.members.index(member)
        module = copy.deepcopy(self._modules[position])
        own = dict(module.named_parameters())
        with torch.no_grad():
            for name, stacked in self.parameters.items():
                own[name].copy_(stacked[position])
        return module.eval()

    def networks(self) -> list[nn.Module]:
        """Return every member as an ordinary network."""
        return [self.model(member) for member in self.members]

    def save(self, path: str | PathLike[str]) -> None:
        """Save to a safetensors file, whole or not at all; `bm.load_trained` reads it.

        The file holds the record, parameters, snapshots, and buffers and frozen parameters of every member, with a
        digest of them all. Networks are built again when it is loaded.

        Args:
            path: Where; a file that is there is replaced.
        """
        record: dict[str, Any] = {}
        for name, one in self.record.variables.items():
            is_text = one.dtype.kind in "OU"  # `split`
            record[str(name)] = [list(one.dims), one.values.tolist() if is_text else torch.as_tensor(one.values.copy())]
        state = {
            "format": _FORMAT,
            "record": record,
            "coordinates": list(map(str, self.record.coords)),
            "attributes": dict(self.record.attrs),
            "parameters": self.parameters,
            "snapshots": self.snapshots,
            "fixed": [constants(module) for module in self._modules],
            "members": [self.members.start, self.members.stop],
            "backend": self.backend,
            "note": self.note,
            "origin": asdict(self._origin),
        }
        saved = packed(state)
        text = canonical(dict(saved.state)).decode()
        metadata = {"state": text, "digest": _digest(text, saved.tensors)}
        put(path_of("path", path), safetensors.torch.save(dict(saved.tensors), metadata))

    def _check_networks(self) -> None:
        if not self._modules:
            raise InputError("build", None, "expected bm.load_trained(path, build) with the function that makes one")

    def _check_parameters_suffice(self) -> None:
        if self._origin.bare:
            return
        self._check_networks()
        first, *others = [fixed_tensors(module, self.parameters) for module in self._modules]
        names = [f"{name}.running_mean" if name else "running_mean" for name in running_statistics(self._modules[0])]
        names += [name for name, one in first.items() if not all(_same(one, other.get(name)) for other in others)]
        if names:
            remedy = (
                "a surface would measure all members with those of one network: expected a surface for each, "
                "bm.LossSurface(trained.model(0), …), or, where they play no part, surface.flatten(trained.model(0)); "
                "weights alone are in trained.parameters and trained.snapshots"
            )
            raise InputError("theta", f"parameters without {names[0]}, in which members differ", remedy)


def load_trained(path: str | PathLike[str], build: Callable[[], nn.Module] | None = None) -> Trained:
    """Load what `Trained.save` wrote.

    Args:
        path: The file.
        build: Makes one network, as it did for the training; `model` and `networks` need it, and others are refused.
            Networks that were made by an `MLPConfig` are built without it.

    Returns:
        The ensemble; records, parameters and snapshots are those that were saved, bit for bit.

    Raises:
        DamagedError: If the file is not what was saved.
    """
    place = path_of("path", path)
    content = get(place)
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        saved = Checkpoint(safetensors.torch.load(content), json.loads(metadata["state"]))
        intact = metadata["digest"] == _digest(metadata["state"], saved.tensors)
        version = saved.state["format"]
    except Exception as error:  # a file can be damaged in any way
        raise DamagedError(f"{place} can't be read: it is damaged, or no file of Trained.save.") from error
    if not intact:
        raise DamagedError(f"{place} can't be read: it is damaged, for its digest differs.")
    if version != _FORMAT:
        raise DamagedError(f"{place} can't be read: it has format {abridged(short(version))} instead of {_FORMAT}.")
    try:
        trained, state = _unpacked(saved)
    except Exception as error:  # whoever writes a file can write its digest
        raise DamagedError(f"{place} can't be read: it is no file of Trained.save.") from error
    make = build or trained._origin.mlp
    return trained if make is None else replace(trained, _modules=_rebuilt(make, trained.members, state))


def _unpacked(saved: Checkpoint) -> tuple[Trained, Mapping[str, Any]]:
    """An ensemble without its networks, and the state that it was saved as."""
    state = unpacked(saved)
    variables = {name: (dims, np.asarray(values)) for name, (dims, values) in state["record"].items()}
    coordinates = {name: variables.pop(name) for name in state["coordinates"]}
    mlp = state["origin"]["mlp"]
    config = MLPConfig(tuple(mlp["widths"]), mlp["activation"]) if mlp else None
    members, parameters, fixed = range(*state["members"]), state["parameters"], state["fixed"]
    if not all(map(_are_tensors, (parameters, *fixed, *state["snapshots"].values()))):
        raise ValueError("its parameters are no tensors by name")
    if not is_whole(state["origin"]["seed"]) or not isinstance(state["backend"], str):
        raise ValueError("its origin is none")
    sizes = [one.shape[1:].numel() for one in parameters.values() if len(one) == len(members)]
    # so that what is built from a file is no larger than the file
    as_planned = config is None or sum(sizes) == parameter_count(config.widths)
    if not sizes or len(sizes) < len(parameters) or len(fixed) != len(members) or not as_planned:
        raise ValueError("its parameters are not those of its members")
    trained = Trained(
        record=xr.Dataset(variables, coordinates, state["attributes"]),
        **{name: state[name] for name in ("parameters", "snapshots", "backend", "note")},
        members=range(*state["members"]),
        _origin=Origin(**{**state["origin"], "mlp": config}),
        _modules=(),
    )
    return trained, state


def _are_tensors(one: object) -> bool:
    return isinstance(one, Mapping) and all(isinstance(value, Tensor) for value in one.values())


def _rebuilt(build: Callable[[], nn.Module], members: range, state: Mapping[str, Any]) -> tuple[nn.Module, ...]:
    """Build the members as for the training, with the buffers and frozen parameters that were saved."""
    shapes = {name: one[0].shape for name, one in state["parameters"].items()}
    dtype = next(iter(state["parameters"].values())).dtype
    built = build_members(build, members, state["origin"]["seed"], same_start=True)
    modules = tuple(module.to(dtype) for module in built)
    for module, saved in zip(modules, state["fixed"], strict=True):
        own = dict(module.named_parameters()) | dict(module.named_buffers())
        if {name: one.shape for name, one in own.items()} != shapes | {name: one.shape for name, one in saved.items()}:
            remedy = "expected the function that made the networks of this training"
            raise InputError("build", f"a function that makes another {type(module).__name__}", remedy)
        with torch.no_grad():
            for name, one in saved.items():
                own[name].copy_(one)
    return modules


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    parts = [header.encode()]
    for name, one in sorted(tensors.items()):
        parts += [f"{name}{one.dtype}{tuple(one.shape)}".encode(), one.numpy().tobytes()]
    return digest(b"".join(parts))


def _same(one: Tensor, other: Tensor | None) -> bool:
    # where nothing is a number, there is nothing to compare
    return other is not None and one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _flat(tensors: Mapping[str, Tensor], names: Iterable[str]) -> Tensor:
    return torch.cat([tensors[name].reshape(len(tensors[name]), -1) for name in names], dim=1)
