"""Twenty small runs, the same for every tool: two optimisers with ten seeds each, and two metrics at eleven steps."""

import math

import numpy as np

SEEDS = range(10)
OPTIMIZERS = ("adam", "sgd")
STEPS = range(0, 101, 10)


def config(optimizer, seed):
    return {"optimizer": optimizer, "seed": seed, "learning_rate": 0.01, "batch_size": 32}


def metrics(optimizer, seed):
    """Return each metric's values along STEPS; multiples of 1/4096, which float32 holds exactly."""
    noise = np.random.default_rng([seed, OPTIMIZERS.index(optimizer)]).normal(size=(2, len(STEPS)))
    level = np.random.default_rng(seed).normal()  # both runs of a seed share it
    rate = {"adam": 0.03, "sgd": 0.022}[optimizer]
    loss = [0.2 + 2 * math.exp(-rate * step) + 0.05 * level + 0.02 * noise[0, k] for k, step in enumerate(STEPS)]
    accuracy = [0.9 - 0.8 * math.exp(-rate * step) + 0.02 * level + 0.01 * noise[1, k] for k, step in enumerate(STEPS)]
    return {
        "train/loss": [round(4096 * one) / 4096 for one in loss],
        "val/accuracy": [round(4096 * min(one, 1.0)) / 4096 for one in accuracy],
    }


def runs():
    """Yield (name, config, metrics) of all twenty."""
    for optimizer in OPTIMIZERS:
        for seed in SEEDS:
            yield f"{optimizer}-{seed}", config(optimizer, seed), metrics(optimizer, seed)
