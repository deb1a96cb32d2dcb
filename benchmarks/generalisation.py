"""How fast is what Part 3 needs: small batches, long lines? Each beside what one would do instead, in one process."""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import bathymetry as bm
from training import compare, image_data, seconds

PAIRS, ALPHAS = 10, torch.linspace(-1, 2, 61, dtype=torch.float64)
_SAMPLE = 6  # of the evaluations one after another that are timed, all of which are the same work


def line() -> dict[str, float | str]:
    """Loss and accuracy of ten pairs of 784-30-10 at 61 points on 60,000 images, against one after another."""
    data = image_data()
    model = bm.mlp([784, 30, 10])
    ends = [torch.stack([parameters_to_vector(bm.mlp([784, 30, 10]).parameters()) for _ in range(PAIRS)]).detach()
            for _ in range(2)]  # fmt: skip
    inputs, targets = data.x_train, data.y_train

    @torch.no_grad()
    def one_after_another() -> None:
        for alpha in ALPHAS[:_SAMPLE].tolist():
            vector_to_parameters((1 - alpha) * ends[0][0] + alpha * ends[1][0], model.parameters())
            outputs = model(inputs)
            nn.functional.cross_entropy(outputs, targets).item()
            (outputs.argmax(1) == targets).float().mean().item()

    surface = bm.LossSurface(bm.mlp([784, 30, 10]), "cross_entropy", (inputs, targets))

    def together() -> None:
        bm.probes.interpolate(surface, *ends, ALPHAS)

    one_after_another()
    together()
    rounds = [(seconds(one_after_another) / _SAMPLE, seconds(together) / PAIRS / len(ALPHAS)) for _ in range(3)]
    alone, ours = min(a for a, _ in rounds), min(o for _, o in rounds)
    return {"what": "61 points, 10 pairs of 784-30-10, 60,000 images, a point", "loop_us": alone * 1e6,
            "ensemble_us": ours * 1e6, "ratio": alone / ours}  # fmt: skip


def main() -> None:
    """Run the comparisons, print the ratios and keep them as JSON."""
    rows = [compare("784-20-30-10, batch 5", (784, 20, 30, 10), image_data(), "cross_entropy", 5, 3000), line()]
    for row in rows:
        print(f"{row['what']:<60} {row['loop_us']:8.0f} µs {row['ensemble_us']:8.0f} µs {row['ratio']:6.1f}×")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
