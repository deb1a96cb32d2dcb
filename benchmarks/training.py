"""How much faster is an ensemble than a loop over its networks? Both in one process; the ratio is what counts."""

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from bathymetry.data import Data, Examples
from bathymetry.training import Trained, train

MEMBERS = 10


def perceptron(*widths: int) -> nn.Sequential:
    """Build a ReLU perceptron of these widths."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def function_data() -> Data:
    """Draw 1,000 points of the cosine."""
    inputs = torch.rand(1000, 1) * 20 - 10
    examples = Examples(inputs, inputs.cos())
    return Data("cos", examples, examples, source="drawn here")


def image_data() -> Data:
    """Draw noise in the format of MNIST: for speed the values do not matter."""
    images = torch.randint(0, 256, (60_000, 784), dtype=torch.uint8)
    examples = Examples(images, torch.randint(0, 10, (60_000,)), 1 / 255)
    few = Examples(images[:256], examples.targets[:256])
    return Data("noise", examples, few, source="drawn here", classes=10)


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def loop(build: Callable[[], nn.Module], data: Data, loss: nn.Module, batch_size: int, steps: int) -> None:
    """Train one network as a user would: tensors in memory, Adam, the ordinary loop."""
    module, inputs, targets = build(), data.x_train, data.y_train
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    done = 0
    while done < steps:
        for batch in torch.randperm(len(inputs)).split(batch_size):
            whole = batch_size == len(inputs)
            x, y = (inputs, targets) if whole else (inputs[batch], targets[batch])
            optimizer.zero_grad()
            loss(module(x), y).backward()
            optimizer.step()
            done += 1
            if done == steps:
                return


def compare(
    name: str, widths: tuple[int, ...], data: Data, loss: str, batch_size: int | None, steps: int
) -> dict[str, float | str]:
    """Time the loop over one network against an ensemble, alternating, and keep the best of three each."""

    def build() -> nn.Module:
        return perceptron(*widths)

    torch_loss = nn.MSELoss() if loss == "mse" else nn.CrossEntropyLoss()
    size = batch_size or len(data.train)
    few = {"first": data.test}

    def ensemble(steps: int) -> Trained:
        return train(
            build,
            data,
            members=MEMBERS,
            loss=loss,
            steps=steps,
            batch_size=batch_size,
            evaluate_on=few,
            record_at=[],
        )

    def ours(steps: int) -> float:
        return seconds(lambda: ensemble(steps))

    ours(2)
    rounds = []
    for _ in range(3):
        alone = seconds(lambda: loop(build, data, torch_loss, size, steps)) / steps
        together = (ours(steps) - ours(1)) / (steps - 1) / MEMBERS
        rounds.append((alone, together))
    alone, together = min(a for a, _ in rounds), min(t for _, t in rounds)
    return {"what": name, "loop_us": alone * 1e6, "ensemble_us": together * 1e6, "ratio": alone / together}


def main() -> None:
    """Run the comparisons, print the ratios and keep them as JSON."""
    cos, images = function_data(), image_data()
    rows = [
        compare("shallow function network, 1,000 inputs", (1, 250, 1), cos, "mse", None, 200),
        compare("middle function network, 1,000 inputs", (1, 32, 16, 9, 1), cos, "mse", None, 200),
        compare("deep function network, 1,000 inputs", (1, 24, 16, 10, 8, 4, 1), cos, "mse", None, 200),
        compare("784-30-10, batch 50", (784, 30, 10), images, "cross_entropy", 50, 600),
    ]
    for row in rows:
        print(f"{row['what']:<42} {row['loop_us']:8.0f} µs {row['ensemble_us']:8.0f} µs {row['ratio']:6.1f}×")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
