"""Networks that draw random numbers without an effect that shows, such as a layer dropped once in 1000 passes."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from bathymetry.surface.network import Network
from bathymetry.surface.randomness import unstirred
from bathymetry.surface.structure import is_random_in_training
from bathymetry.surface.trial import random_states


class HiddenRandomness(UserWarning):
    """A network or a loss draws random numbers, which changed nothing in the passes that were tried."""


def check_hidden_randomness(network: Network, ask: Callable[[], Any]) -> None:
    """Warn of a network that draws random numbers without an effect that shows, and refuse a layer known to use them.

    Args:
        network: The network.
        ask: Computes the loss.
    """
    generators = _generators(network._own)
    if not (network._draws or generators):
        return
    with network.measuring(), unstirred(), _layers_that_draw(network._own, generators) as found:
        before = _states(generators)
        ask()
        drew = _states(generators) != before
    if not drew:
        return
    layers = dict(network._own.named_modules())
    if any(layers[name].training and is_random_in_training(layers[name]) for name in found):
        raise network._random()
    kinds = [f"layer {name} ({type(layers[name]).__name__})" if name else network.kind for name in found]
    what = ", ".join(kinds[:3]) or "the loss"
    remedy = "if they can have one, make the noise an input, ((x, noise), y)"
    if any(layers[name].training for name in found):
        remedy = 'call model.eval() first, or give mode="no_dropout", which leaves normalisations in their modes'
    seen = "draws random numbers that had no effect in the passes tried; with an effect there is no loss surface"
    warnings.warn(f"{what} {seen}: {remedy}", HiddenRandomness, stacklevel=3)


@contextmanager
def _layers_that_draw(module: nn.Module, generators: list[Any]) -> Iterator[dict[str, None]]:
    """Name the layers in whose own part of a pass random numbers are drawn."""
    found: dict[str, None] = {}
    last = [_states(generators)]  # when a layer was last entered or left
    running: list[str] = []

    def passed(enters: str | None) -> None:
        now = _states(generators)
        if now != last[0] and running:
            found[running[-1]] = None
        last[0] = now
        if enters is None:
            running.pop()
        else:
            running.append(enters)

    handles = []
    for name, layer in module.named_modules():
        handles += [
            layer.register_forward_pre_hook(lambda _layer, _inputs, name=name: passed(name)),
            layer.register_forward_hook(lambda _layer, _inputs, _output: passed(None)),
        ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _generators(module: nn.Module) -> list[Any]:
    """List the generators that layers, or what they keep in attributes, have of their own."""
    kinds = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    found = {}
    for layer in module.modules():
        for value in chain(vars(layer).values(), *(vars(one).values() for one in type(layer).__mro__)):
            inside = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(inside, list | tuple):
                inside = [value, *getattr(value, "__dict__", {}).values()]
            found.update({id(one): one for one in inside if isinstance(one, kinds)})
    return list(found.values())


def _states(generators: list[Any]) -> tuple[Any, ...]:
    """Give the random states of the program and of some generators."""
    own: list[Any] = []
    for one in generators:
        if isinstance(one, torch.Generator):
            own.append(one.get_state().numpy().tobytes())
        elif isinstance(one, np.random.Generator):
            own.append(repr(one.bit_generator.state))
        elif isinstance(one, random.Random):
            own.append(one.getstate())
        else:
            own.append(repr(one.get_state(legacy=False)))
    return (random_states(), *own)
