"""The step of all members: one fused optimizer for the whole stack, or one optimizer of PyTorch per member."""

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bathymetry.core.randomness import seed_generators, stream_seed
from bathymetry.training.attributes import Attributes, plain
from bathymetry.training.ensemble import LANES, StackedTensors, flush_denormals, whole_vectors
from bathymetry.training.optimizers import Optimizer, OptimizerFactory, Schedule, called, makes_scheduler

_FLUSHED_EVERY = 64  # steps
_SHRINKING = 1e4  # room above the smallest normal number for a moment with β = 0.9 to shrink in so many steps


class Stepper:
    """Steps all members; the moments of Adam, AdamW and SGD are stacked like the parameters."""

    def __init__(
        self,
        optimizer: Optimizer | OptimizerFactory,
        schedule: Schedule | None,
        parameters: StackedTensors,
        gradients: StackedTensors,
        rows: Sequence[Mapping[str, float]] = (),
        members: Sequence[tuple[int, int]] = (),
    ) -> None:
        """`rows` are the hyperparameters of each member, if not the optimizer's; `members` are seeds and numbers."""
        self.moments: dict[str, StackedTensors] = {}
        self._parameters, self._gradients, self._members = parameters, gradients, members
        self._tensors: list[list[tuple[str, Tensor, Tensor]]] = []  # of every member: name, parameter, gradient
        self._chosen: list[list[int]] = []  # the members of each group of a stacked optimizer
        self._missing: list[Collection[str]] = [()] * parameters.members
        self._count = 0
        self._ends: _Ends | None = None  # only where members have hyperparameters of their own
        if isinstance(optimizer, Optimizer):
            self._optimizers = [self._stacked(optimizer, rows or optimizer.rows(parameters.members))]
        else:
            self._optimizers = [self._of_member(optimizer, position) for position in range(parameters.members)]
        owners = {str(position): one for position, one in enumerate(self._optimizers)}
        self._attributes = Attributes("optimizer", owners, parameters.flat.device)
        self._factor: Callable[[Any], Any] | None = schedule
        self._schedulers: list[Any] = []
        if makes_scheduler(schedule):
            self._factor, self._schedulers = None, list(map(schedule, self._optimizers))  # type: ignore[arg-type]
        self._rates = [group.get("lr") for group in self._groups()]
        step = type(self._optimizers[0]).step
        self._needs_closure = inspect.signature(step).parameters["closure"].default is inspect.Parameter.empty

    def _groups(self) -> list[dict[str, Any]]:
        return [group for one in self._optimizers for group in one.param_groups]

    def _stacked(self, optimizer: Optimizer, rows: Sequence[Mapping[str, float]]) -> torch.optim.Optimizer:
        """One fused optimizer; the state of its tensors lies in `moments`."""
        chosen: dict[tuple[tuple[str, float], ...], list[int]] = {}
        for position, row in enumerate(rows):
            chosen.setdefault(tuple(row.items()), []).append(position)
        self._chosen = list(chosen.values())
        self.moments = {name: self._parameters.zeros_like() for name in optimizer._moments}
        groups: list[dict[str, Any]] = [{"params": [], **dict(row)} for row in chosen]
        for group in groups:
            if "beta1" in group:
                group["betas"] = (group.pop("beta1"), group.pop("beta2"))
        made = optimizer._torch(groups, fused=True)  # type: ignore[call-arg]
        self._lay_out(made, alone=False)
        return made

    def _lay_out(self, optimizer: torch.optim.Optimizer, *, alone: bool) -> None:
        """Fill the groups of a stacked optimizer with the tensors of members next to each other, or of each alone."""
        optimizer.state.clear()
        self._tensors = [[] for _ in range(self._parameters.members)]
        buffers = [one.flat for one in (self._parameters, self._gradients, *self.moments.values())]
        ranges = [self._ranges(chosen, alone=alone) for chosen in self._chosen]
        ends = _Ends(buffers, [[one for _, _, one in each] for each in ranges])
        self._ends = ends if ends.any else None
        for place, (group, each) in enumerate(zip(optimizer.param_groups, ranges, strict=True)):
            pieces = [[one[entries.start : _whole_end(entries)] for one in buffers] for _, _, entries in each]
            for (position, name, _), (tensor, gradient, *_) in zip(each, pieces, strict=True):
                if alone:
                    self._tensors[position].append((name, tensor, gradient))
            group["params"] = []
            for tensor, gradient, *parts in (*pieces, *ends.of_group(place)):
                tensor.grad = gradient
                step = torch.tensor(float(self._count), device=tensor.device)
                optimizer.state[tensor] = {"step": step, **dict(zip(self.moments, parts, strict=True))}
                group["params"].append(tensor)

    def _ranges(self, chosen: Sequence[int], *, alone: bool) -> list[tuple[int, str, range]]:
        """Which entries of the buffers are these members': the first member of each range, the name, the range."""
        if len(self._chosen) == 1 and not alone:
            return [(0, "", range(len(self._parameters.flat)))]
        runs = [range(k, k + 1) for k in chosen] if alone else _runs(chosen)
        found = []
        for run in runs:
            for name, block in self._parameters.blocks.items():
                start, size = block.storage_offset(), block.shape[1]
                found.append((run.start, name, range(start + run.start * size, start + run.stop * size)))
        return found

    def _of_member(self, factory: OptimizerFactory, position: int) -> torch.optim.Optimizer:
        own = {name: nn.Parameter(view) for name, view in self._parameters.member(position).items()}
        gradients = self._gradients.member(position)
        for name, parameter in own.items():
            parameter.grad = gradients[name]
        self._tensors.append([(name, parameter, gradients[name]) for name, parameter in own.items()])
        made: torch.optim.Optimizer = called("optimizer", factory, list(own.values()))
        return made

    def skip(self, missing: Sequence[Collection[str]]) -> None:
        """Leave these parameters of every member alone until the next call, as PyTorch does without a gradient."""
        if list(missing) == self._missing or not (any(missing) or any(self._missing)):
            return
        if not any(self._tensors):
            self._lay_out(self._optimizers[0], alone=True)
        self._missing = list(missing)
        for names, tensors in zip(missing, self._tensors, strict=True):
            for name, tensor, gradient in tensors:
                tensor.grad = None if name in names else gradient

    @property
    def name(self) -> str:
        """Name of the optimizer's class in PyTorch."""
        return type(self._optimizers[0]).__name__

    def step(self, progress: float, evaluate_again: Callable[[int], Tensor]) -> None:
        """Move every member once along its gradient; LBFGS and its like call `evaluate_again` for one member."""
        if self._factor is not None:
            factor = self._factor(progress)
            for group, rate in zip(self._groups(), self._rates, strict=True):
                if rate is not None:
                    group["lr"] = rate * factor
        if self._ends is not None:
            self._ends.gather()
        for position, optimizer in enumerate(self._optimizers):
            if not self.moments:  # an optimizer of the user's may add noise
                seed_generators(stream_seed(*self._members[position], "optimizer", self._count))
            if self._needs_closure:
                optimizer.step(partial(evaluate_again, position))  # type: ignore[arg-type]
            else:
                optimizer.step()
        if self._ends is not None:
            self._ends.scatter()
        for scheduler in self._schedulers:
            scheduler.step()
        self._count += 1
        if self._count % _FLUSHED_EVERY == 0:
            for moment in self.moments.values():
                flush_denormals(moment.flat, _SHRINKING)

    def state(self) -> list[dict[str, Any]]:
        """What the optimizers keep besides `moments`."""
        if self.moments:
            steps = [float(one["step"]) for one in self._optimizers[0].state.values()]
            return [{"steps": steps, "alone": any(self._tensors)}]
        attributes, found = self._attributes.changed(), []
        for position, optimizer in enumerate(self._optimizers):
            state = optimizer.state_dict()
            groups = [plain({**group, "params": None}) for group in state["param_groups"]]
            found.append({"state": state["state"], "groups": groups, "attributes": attributes.get(str(position), {})})
        return found

    def resume(self, states: Sequence[Mapping[str, Any]], steps: int) -> None:
        """Go on after so many steps from what `state` returned."""
        self._count = steps
        with warnings.catch_warnings():  # PyTorch expects a step of the optimizer before each of its schedule
            warnings.simplefilter("ignore")
            for scheduler in self._schedulers:
                for _ in range(steps):
                    scheduler.step()
        if self.moments:
            done = states[0]["steps"]
            if states[0]["alone"]:
                self._lay_out(self._optimizers[0], alone=True)
            for state, count in zip(self._optimizers[0].state.values(), done, strict=True):
                state["step"].fill_(count)
            return
        for optimizer, state in zip(self._optimizers, states, strict=True):
            pairs = zip(optimizer.state_dict()["param_groups"], state["groups"], strict=True)
            groups = [{**group, **saved, "params": group["params"]} for group, saved in pairs]
            optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
        self._attributes.load({str(k): state["attributes"] for k, state in enumerate(states)})


def _runs(positions: Sequence[int]) -> list[range]:
    """Ascending numbers as ranges of neighbours."""
    known = set(positions)
    starts, stops = [k for k in positions if k - 1 not in known], [k + 1 for k in positions if k + 1 not in known]
    return list(map(range, starts, stops))


def _whole_end(entries: range) -> int:
    """Where a range's last whole vector ends."""
    return entries.stop - len(entries) % LANES


class _Ends:
    """What ranges have after their last whole vector: stepped in copies, so that kernels see nothing but vectors."""

    def __init__(self, buffers: Sequence[Tensor], groups: Sequence[Sequence[range]]) -> None:
        self._buffers = buffers  # parameters, gradients and moments
        entries: list[int] = []
        slots: list[int] = []  # where each entry lies in the copies
        self._bounds = [0]  # of each group
        for ranges in groups:
            own = [entry for one in ranges for entry in range(_whole_end(one), one.stop)]
            entries += own
            slots += range(self._bounds[-1], self._bounds[-1] + len(own))
            self._bounds.append(self._bounds[-1] + whole_vectors(len(own)))
        self._copies = [buffer.new_zeros(self._bounds[-1]) for buffer in buffers]
        self._entries, self._slots = (torch.tensor(one, device=buffers[0].device) for one in (entries, slots))

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return self._bounds[-1] > 0

    def of_group(self, place: int) -> list[list[Tensor]]:
        """The copies of one group, of each buffer, if it has any."""
        start, stop = self._bounds[place : place + 2]
        return [[one[start:stop] for one in self._copies]] if stop > start else []

    def gather(self) -> None:
        """Copy from the buffers."""
        for buffer, copy in zip(self._buffers, self._copies, strict=True):
            copy.index_copy_(0, self._slots, buffer.index_select(0, self._entries))

    def scatter(self) -> None:
        """Copy what was stepped into the buffers."""
        for buffer, copy in zip(self._buffers, self._copies, strict=True):
            buffer.index_copy_(0, self._entries, copy.index_select(0, self._slots))
