"""Sweeps: predicted against measured time of five different mixes.

python benchmarks/sweeps.py                    # estimates of the plan, by a calibration of about 1.5 s
"""

import argparse
import time
from tempfile import TemporaryDirectory

from bathymetry.execution.calibration import calibrate
from bathymetry.execution.sweep_run import read_sweep, sweep
from bathymetry.execution.work import compare
from bathymetry.store.storage import place_of

MIXES = {
    "rates and widths, full batch": {
        "data": {"function": "sin", "samples": 256},
        "training": {"epochs": 400},
        "axes": {"learning_rate": [1e-4, 1e-3, 1e-2], "width": [8, 32, 128]},
    },
    "depths, batches of 50": {
        "data": {"name": "digits"},
        "training": {"epochs": 8, "batch_size": 50},
        "axes": {"depth": [1, 2, 4, 8], "width": [20, 100]},
        "network": {},
    },
    "batch sizes": {
        "data": {"name": "digits"},
        "training": {"epochs": 4},
        "axes": {"batch_size": [5, 50, 500, "full"]},
        "network": {"hidden": [64, 32]},
    },
    "optimizers, one member after another": {
        "data": {"name": "digits", "train_examples": 600},
        "training": {"epochs": 3, "batch_size": 30},
        "axes": {"optimizer": ["adam", "sgd", "RMSprop", "NAdam"], "width": [16, 64]},
    },
    "probes at the end": {
        "data": {"function": "cos(x)", "samples": 200},
        "training": {"epochs": 100},
        "axes": {"width": [4, 8, 16]},
        "measure": ["gradient_norm", "sharpness", "largest_eigenvalue"],
    },
}


def main() -> None:
    """Print one row for each mix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--processor-time", action="store_true", help="whatever else the machine does")
    arguments = parser.parse_args()
    members, clock = arguments.members, time.process_time if arguments.processor_time else time.perf_counter
    print(f"{'':<38} {'points':>6} {'calibration':>12} {'predicted':>10} {'measured':>9} {'ratio':>6}")
    for name, fields in MIXES.items():
        with TemporaryDirectory() as folder:
            made = read_sweep({"name": "mix", "members": members, **fields}, {})
            work = compare(place_of("out", folder), made.planned)
            begun = time.perf_counter()
            predicted = calibrate(work, clock=clock).seconds()
            spent, middle = time.perf_counter() - begun, clock()
            sweep(made, out=folder)
            measured = clock() - middle
        ratio = measured / predicted
        print(f"{name:<38} {len(made.points):>6} {spent:>10.1f} s {predicted:>8.1f} s {measured:>7.1f} s {ratio:>6.2f}")


if __name__ == "__main__":
    main()
