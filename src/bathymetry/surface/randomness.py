"""Random states of a program and of a network's own generators, and the layers that draw from them."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


class HiddenRandomness(UserWarning):
    """A network or a loss draws random numbers, which changed nothing in the passes that were tried."""


@contextmanager
def preserve_rng_state(seed: int | None = None) -> Iterator[None]:
    """Restore the random states of PyTorch, Python and NumPy on exit; with a seed, set them to it meanwhile."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    if seed is not None:
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)


def random_states(generators: Sequence[Any] = ()) -> list[Any]:
    """Random states of the program and of some generators, to compare."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    of_torch = [torch.get_rng_state(), *devices, *(g.get_state() for g in generators if isinstance(g, torch.Generator))]
    of_numpy = [repr(one.bit_generator.state) for one in generators if isinstance(one, np.random.Generator)]
    of_python = [one.getstate() for one in generators if isinstance(one, random.Random)]
    legacy: list[Any] = [np.random, *(one for one in generators if isinstance(one, np.random.RandomState))]
    found = [state.numpy().tobytes() for state in of_torch] + of_numpy + of_python + [random.getstate()]
    for one in legacy:
        state: Any = one.get_state(legacy=False)["state"]
        found += [state["key"].tobytes(), state["pos"]]
    return found


def own_generators(module: nn.Module) -> list[Any]:
    """Generators that layers, their classes, or what they keep in attributes hold."""
    found = {}
    for layer in module.modules():
        for value in chain(vars(layer).values(), *(vars(one).values() for one in type(layer).__mro__)):
            inside = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(inside, list | tuple):
                inside = [value, *getattr(value, "__dict__", {}).values()]
            found.update({id(one): one for one in inside if isinstance(one, _GENERATORS)})
    return list(found.values())


@contextmanager
def layers_that_draw(module: nn.Module, generators: Sequence[Any]) -> Iterator[list[str]]:
    """Collect the names of the layers in whose own part of a forward pass random numbers are drawn."""
    found: list[str] = []
    running: list[str] = []
    last = random_states(generators)  # when a layer was last entered or left

    def blame() -> None:
        nonlocal last
        now = random_states(generators)
        if now != last and running and running[-1] not in found:
            found.append(running[-1])
        last = now

    def enter(name: str) -> None:
        blame()
        running.append(name)

    def leave() -> None:
        blame()
        running.pop()

    handles = []
    for name, layer in module.named_modules():
        handles += [
            layer.register_forward_pre_hook(lambda _layer, _inputs, name=name: enter(name)),
            layer.register_forward_hook(lambda _layer, _inputs, _output: leave()),
        ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def is_random_in_training(layer: nn.Module) -> bool:
    """Whether a layer of PyTorch draws random numbers in training mode."""
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return bool(layer.p > 0)
    if isinstance(layer, nn.RNNBase):
        return bool(layer.dropout > 0) and layer.num_layers > 1
    if isinstance(layer, nn.MultiheadAttention):
        return bool(layer.dropout > 0)
    return isinstance(layer, nn.RReLU) and bool(layer.lower < layer.upper)
