"""Runs as people have them, as tables: a few optimisers with seeds, some diverged, crashed or missing, or very many.

python tests/runs/realistic.py NAME FILE.csv|FILE.parquet
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

RATES = {"adam": 0.030, "adamw": 0.029, "rmsprop": 0.026, "sgd": 0.022, "lion": 0.031, "adagrad": 0.015}


def run(optimizer, seed, steps, task=None, status="finished", diverges_at=None):
    """One run: loss and accuracy along its steps."""
    random = np.random.default_rng([seed, list(RATES).index(optimizer), len(task or "")])
    level = np.random.default_rng(seed).normal()  # which all runs of a seed share
    rate = RATES[optimizer] * 100 / 200 * (1 if task is None else {"cifar": 0.5, "mnist": 1.6}.get(task, 1.0))
    step = np.asarray(steps)
    decay = np.exp(-rate * step)
    loss = (0.08 + 2.2 * decay) * np.exp(0.1 * level + 0.06 * random.normal() + 0.05 * random.normal(size=len(step)))
    accuracy = 0.94 - 0.84 * decay + 0.006 * level + 0.004 * random.normal() + 0.006 * random.normal(size=len(step))
    accuracy = np.minimum(np.round(accuracy * 10_000) / 10_000, 1.0)
    if diverges_at is not None:
        gone = step >= diverges_at
        loss = np.where(gone, np.nan, loss * np.where(step >= diverges_at - 5, 40.0, 1.0))
        accuracy = np.where(gone, np.nan, accuracy)
    columns = {"optimizer": optimizer, "seed": seed} | ({} if task is None else {"task": task})
    return pd.DataFrame(columns | {"step": step, "train/loss": loss, "val/accuracy": accuracy, "status": status})


def two(steps=200, seeds=10):
    """Two optimisers with ten seeds: one run diverged, one crashed, one is missing."""
    own = {
        ("adam", 4): {"diverges_at": steps * 3 // 5},
        ("sgd", 7): {"status": "crashed"},
    }
    whole = [(name, seed) for name in ("adam", "sgd") for seed in range(seeds) if (name, seed) != ("sgd", 2)]
    made = [run(name, seed, range(steps), **own.get((name, seed), {})) for name, seed in whole]
    return pd.concat([one.iloc[: steps * 9 // 20] if one["status"].iloc[0] == "crashed" else one for one in made])


def tasks():
    """Six optimisers on three tasks with five seeds."""
    cells = [(name, task, seed) for name in RATES for task in ("cifar", "mnist", "svhn") for seed in range(5)]
    return pd.concat([run(name, seed, range(200), task) for name, task, seed in cells])


def lengths():
    """Two optimisers with eight seeds, logged at different steps; one run is longer and one shorter."""
    made = []
    for name in ("adam", "sgd"):
        for seed in range(8):
            end = 150 if (name, seed) == ("sgd", 3) else 400 if (name, seed) == ("adam", 5) else 300
            made.append(run(name, seed, range(0 if name == "adam" else 1, end, 1 if name == "adam" else 3)))
    return pd.concat(made)


def many(seeds=500, steps=1000):
    """Two optimisers with 500 seeds."""
    return pd.concat([run(name, seed, range(steps)) for name in ("adam", "sgd") for seed in range(seeds)])


def write(name, path):
    """Write one of them."""
    frame = {"two": two, "tasks": tasks, "lengths": lengths, "many": many}[name]()
    if Path(path).suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, na_rep="nan")  # an empty cell would be no value


if __name__ == "__main__":
    write(*sys.argv[1:])
