"""Data sets of one's own: an .npz file with x_train, y_train, x_test and y_test."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError
from bathymetry.data.examples import Data, Examples
from bathymetry.data.identity import digest

_KEYS = ("x_train", "y_train", "x_test", "y_test")


def npz(path: Path) -> Data:
    """Read a data set from an .npz file.

    Args:
        path: The file. Inputs of unsigned bytes are taken for pixels and divided by 255, others are taken as they are;
            integer targets are classes from 0, floating ones values. Inputs are flattened to rows.

    Returns:
        The data set, named after the file.

    Raises:
        InputError: If arrays are missing, hold objects, NaN or infinity, or do not fit each other.
    """
    arrays = _arrays(path)
    for half in ("train", "test"):
        inputs, targets = arrays[f"x_{half}"], arrays[f"y_{half}"]
        if inputs.ndim < 2 or len(inputs) == 0:
            raise InputError("data", path, f"x_{half} has shape {inputs.shape}; give (example, feature), at least one")
        if targets.ndim < 1 or len(targets) != len(inputs):
            raise InputError("data", path, f"y_{half} has {targets.shape[:1]} rows for {len(inputs)} in x_{half}")
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        raise InputError("data", path, f"training and test inputs differ in shape, {shapes}; give the same")
    kinds = {arrays[f"{letter}_{half}"].dtype.kind in "iub" for letter in "y" for half in ("train", "test")}
    if len(kinds) > 1:
        raise InputError("data", path, "y_train and y_test must both be classes (integers) or both be values")
    classes = _classes(path, arrays) if kinds == {True} else None
    train, test = (_examples(arrays[f"x_{half}"], arrays[f"y_{half}"], classes) for half in ("train", "test"))
    shape = arrays["x_train"].shape[1:]
    image_shape = tuple(int(side) for side in shape) if len(shape) > 1 else None
    return Data(path.stem, train, test, digest(train, test), f"the file {path.name}", classes, image_shape)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as opened:
            if not isinstance(opened, np.lib.npyio.NpzFile):
                raise InputError("data", path, f"it is no .npz file; give one with {', '.join(_KEYS)}")
            missing = [key for key in _KEYS if key not in opened.files]
            if missing:
                raise InputError("data", path, f"it has no {missing[0]}; give one with {', '.join(_KEYS)}")
            arrays = {key: opened[key] for key in _KEYS}
    except FileNotFoundError as error:
        raise InputError("data", path, "there is no such file") from error
    except InputError:
        raise
    except (ValueError, TypeError, OSError, zipfile.BadZipFile, EOFError) as error:
        remedy = "it can't be read as plain arrays (pickled objects are refused); save it with numpy.savez"
        raise InputError("data", path, remedy) from error
    for key, array in arrays.items():
        if array.dtype.kind not in "iubf":
            raise InputError("data", path, f"{key} has dtype {array.dtype}; give numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("data", path, f"{key} holds NaN or infinity; give finite numbers")
    return arrays


def _classes(path: Path, arrays: dict[str, NDArray[Any]]) -> int:
    low = min(int(arrays[key].min()) for key in ("y_train", "y_test"))
    high = max(int(arrays[key].max()) for key in ("y_train", "y_test"))
    if low < 0:
        raise InputError("data", path, f"a class is {low}; give classes from 0")
    if any(arrays[key].ndim != 1 for key in ("y_train", "y_test")):
        raise InputError("data", path, "classes must be one number an example")
    return max(high + 1, 2)


def _examples(inputs: NDArray[Any], targets: NDArray[Any], classes: int | None) -> Examples:
    pixels = inputs.dtype == np.uint8
    rows = torch.from_numpy(inputs.reshape(len(inputs), -1).astype(np.uint8 if pixels else np.float32))
    if classes is not None:
        return Examples(rows, torch.from_numpy(targets.astype(np.int64)), 1 / 255 if pixels else 1.0)
    values = torch.from_numpy(targets.reshape(len(targets), -1).astype(np.float32))
    return Examples(rows, values, 1 / 255 if pixels else 1.0)
