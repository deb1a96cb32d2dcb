"""The sweep of benchmarks/sweep.py in JAX: every network of the sweep in one vmapped, compiled function.

It runs in an environment of its own (`pip install jax==0.10.2 optax==0.2.8`), not in the project's.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

RATES, MEMBERS, STEPS, INPUTS, WIDTHS = 40, 50, 200, 256, (1, 32, 32, 1)


def initial(key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Draw weights as torch.nn.Linear does: uniform within ±1/√inputs."""
    layers = []
    for inputs, outputs in pairwise(WIDTHS):
        key, first, second = jax.random.split(key, 3)
        bound = inputs**-0.5
        weight = jax.random.uniform(first, (inputs, outputs), minval=-bound, maxval=bound)
        layers.append((weight, jax.random.uniform(second, (outputs,), minval=-bound, maxval=bound)))
    return layers


def loss(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error of a ReLU perceptron."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return jnp.mean((x @ weight + bias - y) ** 2)


def trained(key: jax.Array, rate: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Train one network by Adam on the full batch; return its loss at every step."""
    layers = initial(key)
    optimizer = optax.adam(rate)

    def step(state, _):
        layers, moments = state
        value, gradient = jax.value_and_grad(loss)(layers, x, y)
        change, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(layers, change), moments), value

    _, losses = jax.lax.scan(step, (layers, optimizer.init(layers)), None, STEPS)
    return losses


def main() -> None:
    """Time the first call, which compiles, and the median of three more."""
    x = jnp.linspace(-1, 1, INPUTS)[:, None]
    keys = jax.random.split(jax.random.key(0), RATES * MEMBERS)
    rates = jnp.repeat(jnp.logspace(-4, -1, RATES), MEMBERS)
    every = jax.jit(jax.vmap(trained, in_axes=(0, 0, None, None)))
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        every(keys, rates, x, jnp.sin(3 * x)).block_until_ready()
        seconds.append(time.perf_counter() - start)
    found = {"what": "JAX vmap, 2,000 networks", "first_s": seconds[0], "again_s": sorted(seconds[1:])[1]}
    sys.stdout.write(json.dumps(found) + "\n")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
