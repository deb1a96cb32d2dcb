"""`strokes`: handwritten-looking digits in MNIST's conventions, drawn by the program itself.

A form in `skeletons.json` is one way to write a digit: its share among the digit's forms, and drawings with the same
strokes of as many points (x, y), y down, on a square of 100 by 100; a point that comes twice in a row is a corner. The
drawings are mixed, the points moved a little, a smooth curve put through them, and the result bent, stretched, sheared
and turned. It is scaled into a box of 20 by 20 pixels and moved by whole pixels so that its centre of mass lies in the
middle of 28 by 28, as in MNIST. Points that lie densely along the path, each a Gaussian of width σ, sum to a ridge

    v(d) = exp(-d² / 2σ²) / (√(2π) σ),

d pixels off the path, which is solved for d and gives the grey level clip(r - d + ½, 0, 1) of a pen of radius r.

Measured on version 2: five 784-30-10 networks, trained on all 60,000 for 5 epochs (Adam, batch 50), read 88.9 to 89.9 %
of MNIST's test images, which had no part in choosing the forms, and 94.7 to 95.2 % of the test digits drawn here.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from bathymetry.core.errors import whole_number
from bathymetry.core.randomness import stream_seed
from bathymetry.core.system import check_memory
from bathymetry.data.examples import Data, Examples

VERSION: Final = 2  # changes when the same seed gives other bytes; part of a cached file's name
SOURCE: Final = "drawn by Bathymetry from stroke skeletons, seed {}"
SIDE: Final = 28  # of the image, in pixels

_BOX: Final = 20.0  # side of the box that the ink fills, in pixels
_SAMPLES: Final = 72  # points along the path: closer than σ on nearly every digit
_FINE: Final = 64  # points of a curve from which the samples are chosen, between two points of a drawing
_SIGMA: Final = 1.15  # of one point's Gaussian, in pixels
_EDGE: Final = 1.6  # over how many pixels the grey level falls from black to white
_END: Final = 1.4 * _SIGMA  # more ink where a stroke ends, which makes its end round rather than short
_CENTRE: Final = 14.0  # row and column of the centre of mass, counted from 0
_CHUNK: Final = 500  # images drawn at once, each chunk from its own stream
_WAVES: Final = 2  # that bend a digit

# How much hands differ: standard deviations unless noted; lengths relative to a digit's height of 1.
_MIXTURE: Final = 2.0  # how far a mixture keeps to one drawing: shares are powers of exponential numbers
_WOBBLE: Final = 0.035  # of each point
_WOBBLE_AT_ENDS: Final = 0.05  # of the points where the pen is set down or lifted
_SHEAR: Final = 0.3
_LEAN: Final = 0.2  # the mean shear, to the right
_TURN: Final = 0.12  # radians
_STRETCH: Final = 0.18  # of log(width / height)
_BEND: Final = 0.035  # of each wave's amplitude
_PEN: Final = 2.4  # the median width of the pen, pixels
_PEN_SPREAD: Final = 0.3  # of the log of the width
_PRESSURE: Final = 0.25  # of the log of the ink along the path

Stroke = list[list[float]]  # points (x, y)
Labels = Int[np.ndarray, " example"]
Pixels = UInt8[np.ndarray, "example pixel"]
PenPath = Float[np.ndarray, "example sample 2"]
PerSample = Float[np.ndarray, "example sample"]
PerImage = Float[np.ndarray, " example"]
IsDown = Bool[np.ndarray, "example step"]


def strokes(seed: int = 0, train: int = 60_000, test: int = 10_000) -> Data:
    """Draw digits.

    Args:
        seed: Seed of the drawing; training and test examples come from streams of their own.
        train: Number of training examples; fewer are the first of more.
        test: Number of test examples.

    Returns:
        The digits as bytes, (example, 784), with their classes.

    Example:
        >>> digits = strokes(seed=0, train=100, test=20)
        >>> tuple(digits.train.inputs.shape), digits.train.inputs.dtype, digits.classes
        ((100, 784), torch.uint8, 10)
    """
    seed = whole_number("seed", seed, 0)
    for field, count in (("train", train), ("test", test)):
        check_memory(field, count, whole_number(field, count, 1) * SIDE * SIDE, "they need", "expected fewer")
    train_set, test_set = (_examples(seed, part, count) for part, count in enumerate((train, test)))
    return Data("strokes", train_set, test_set, SOURCE.format(seed), classes=10, image_shape=(SIDE, SIDE))


def _examples(seed: int, part: int, count: int) -> Examples:
    """Draw one part of the data, chunk by chunk; even streams are training examples, odd ones test."""
    images = np.empty((count, SIDE * SIDE), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    for chunk, first in enumerate(range(0, count, _CHUNK)):
        here = slice(first, min(first + _CHUNK, count))
        generator = np.random.Generator(np.random.PCG64(stream_seed(seed, -1, "data draw", 2 * chunk + part)))
        # in float64, so that rounding to bytes hides in which order a machine adds
        draws = _Draws(generator, here.stop - here.start)
        labels[here], path, is_down = _paths(draws)
        path = _deformed(path, draws)
        width = _PEN * np.exp(_PEN_SPREAD * draws.normal())
        path, ink = _placed(path, is_down, width)
        images[here] = _rendered(path, ink * _pressure(draws), width / 2)
    return Examples(torch.from_numpy(images), torch.from_numpy(labels), scale=1 / 255)


@dataclass(frozen=True)
class _Draws:
    """Random numbers for the first images of a chunk; they are drawn for a full chunk, however few those are."""

    generator: np.random.Generator
    count: int

    def normal(self, *shape: int) -> Float[np.ndarray, "example ..."]:
        return self.generator.standard_normal((_CHUNK, *shape))[: self.count]

    def uniform(self, *shape: int) -> Float[np.ndarray, "example ..."]:
        return self.generator.random((_CHUNK, *shape))[: self.count]


@dataclass(frozen=True)
class _Plan:
    """A form whose path is `curve @ points`, whatever the points."""

    digit: int
    share: float
    curve: Float[np.ndarray, "sample point"]  # a smooth curve through the points, linear in them
    drawings: Float[np.ndarray, "drawing point 2"]  # height about 1, the middle at 0
    wobble: Float[np.ndarray, "point 1"]  # by how much each point moves
    is_down: Bool[np.ndarray, " step"]  # whether the pen is down between a sample and the next


@cache
def _plans() -> tuple[_Plan, ...]:
    forms = json.loads(Path(__file__).with_name("skeletons.json").read_text("utf-8"))
    return tuple(_plan(**form) for form in forms)


def _plan(digit: int, share: float, form: str, drawings: list[list[Stroke]]) -> _Plan:  # noqa: ARG001 - for readers
    """Lay samples evenly along all strokes of a form's mean drawing."""
    points = np.array([[p for stroke in drawing for p in _unique(stroke)] for drawing in drawings]) / 100 - 0.5
    fine, down, ends = _fine_curve(drawings[0])
    steps = np.linalg.norm(np.diff(fine @ points.mean(0), axis=0), axis=1) * down
    along = np.concatenate([[0.0], np.cumsum(steps)])
    lifts = np.flatnonzero(~down)  # the last fine point of every stroke but the last
    bounds = [*pairwise([0, *(lifts + 1), len(fine)])]
    lengths = np.array([along[last - 1] - along[first] for first, last in bounds])
    counts = np.maximum(4, np.floor(_SAMPLES * lengths / lengths.sum()).astype(int))
    counts[np.argmax(counts)] += _SAMPLES - counts.sum()
    chosen = []
    for (first, last), count in zip(bounds, counts, strict=True):
        wanted = np.linspace(along[first], along[last - 1], count)
        chosen.append(first + np.searchsorted(along[first:last], wanted).clip(max=last - 1 - first))
    is_down = np.ones(_SAMPLES - 1, dtype=bool)
    is_down[np.cumsum(counts)[:-1] - 1] = False
    wobble = np.where(ends, _WOBBLE_AT_ENDS, _WOBBLE)[:, None]
    return _Plan(digit, share, fine[np.concatenate(chosen)], points, wobble, is_down)


def _unique(stroke: Stroke) -> Stroke:
    """The points of a stroke, a corner once."""
    return stroke[:1] + [after for before, after in pairwise(stroke) if after != before]


def _fine_curve(
    drawing: list[Stroke],
) -> tuple[Float[np.ndarray, "fine point"], Bool[np.ndarray, " step"], Bool[np.ndarray, " point"]]:
    """The Catmull-Rom curve through each stroke as a matrix on its points, starting again at every corner."""
    strokes = [_unique(stroke) for stroke in drawing]
    points = np.eye(sum(map(len, strokes)))
    u = np.linspace(0, 1, _FINE, endpoint=False)
    cubic = np.stack([-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2]) / 2
    rows: list[Float[np.ndarray, "fine point"]] = []
    down: list[bool] = []
    ends = np.zeros(len(points), dtype=bool)
    first = 0
    for stroke, unique in zip(drawing, strokes, strict=True):
        last = first + len(unique) - 1
        ends[[first, last]] = True
        corners = [first + unique.index(a) for a, b in pairwise(stroke) if a == b]
        for start, stop in pairwise([first, *corners, last]):
            one = points[start : stop + 1]
            # beyond either end the curve goes on as it came
            padded = np.concatenate([[2 * one[0] - one[1]], one, [2 * one[-1] - one[-2]]])
            rows += [cubic.T @ padded[k : k + 4] for k in range(stop - start)]
        rows.append(points[last : last + 1])
        down += [True] * (_FINE * (last - first)) + [False]
        first = last + 1
    return np.concatenate(rows), np.array(down[:-1]), ends


def _paths(draws: _Draws) -> tuple[Labels, PenPath, IsDown]:
    """Choose digit, form and mixture for each image; return the digits, their paths and where the pen is down."""
    plans = _plans()
    labels = np.minimum((10 * draws.uniform()).astype(np.int64), 9)
    form_shares = np.array([[plan.share * (plan.digit == digit) for plan in plans] for digit in range(10)])
    limits = np.cumsum(form_shares, axis=1) / form_shares.sum(1, keepdims=True)
    forms = (draws.uniform()[:, None] >= limits[labels]).sum(1)
    shares = (-np.log1p(-draws.uniform(max(len(plan.drawings) for plan in plans)))) ** _MIXTURE
    wobble = draws.normal(max(plan.drawings.shape[1] for plan in plans), 2)
    path = np.empty((len(labels), _SAMPLES, 2))
    is_down = np.empty((len(labels), _SAMPLES - 1), dtype=bool)
    for number in np.unique(forms):
        plan, which = plans[number], forms == number
        count, points, _ = plan.drawings.shape
        mixture = shares[which, :count] / shares[which, :count].sum(1, keepdims=True)
        moved = np.einsum("ed,dpc->epc", mixture, plan.drawings) + plan.wobble * wobble[which, :points]
        path[which] = plan.curve @ moved
        is_down[which] = plan.is_down
    return labels, path, is_down


def _deformed(path: PenPath, draws: _Draws) -> PenPath:
    for _ in range(_WAVES):
        wave = 4.0 * draws.normal(2, 1)  # up to about a period across the digit
        phase = 2 * math.pi * draws.uniform(1)
        height = _BEND * draws.normal(1, 2)
        path = path + height * np.sin((path @ wave)[..., 0] + phase)[..., None]
    x, y = path[..., 0], path[..., 1]
    x = x * np.exp(_STRETCH * draws.normal(1))
    x = x - (_LEAN + _SHEAR * draws.normal(1)) * y
    angle = _TURN * draws.normal(1)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _placed(path: PenPath, is_down: IsDown, width: PerImage) -> tuple[PenPath, PerSample]:
    """Scale the ink into the box; return the path in pixels, and the length of path that each sample stands for."""
    low, high = path.min(1), path.max(1)
    scale = (_BOX - width) / (high - low).max(1)
    path = (path - low[:, None]) * scale[:, None, None] + width[:, None, None] / 2
    step = np.linalg.norm(np.diff(path, axis=1), axis=2) * is_down
    around = np.pad(step / 2, ((0, 0), (1, 1)))
    is_around = np.pad(is_down, ((0, 0), (1, 1)))
    ink = around[:, 1:] + around[:, :-1] + _END * (is_around[:, 1:] != is_around[:, :-1])
    rest = SIDE - (high - low) * scale[:, None] - width[:, None]
    return path + np.floor(rest / 2)[:, None], ink


def _pressure(draws: _Draws) -> PerSample:
    """Ink that varies slowly along the path."""
    along = np.linspace(0, 2 * math.pi, _SAMPLES)
    swing = np.sin(along * (0.3 + draws.uniform(1)) + 2 * math.pi * draws.uniform(1))
    return np.exp(_PRESSURE * draws.normal(1) * swing)


def _rendered(path: PenPath, ink: PerSample, radius: PerImage) -> Pixels:
    """Sum Gaussians along the path, one matrix product per image, and solve for the distance from the path."""
    centres = torch.arange(SIDE, dtype=torch.float64) + 0.5
    offset = torch.from_numpy(path)[..., None] - centres
    gaussian = offset.square_().div_(-2 * _SIGMA**2).exp_()
    across, down = gaussian[:, :, 0], gaussian[:, :, 1]
    ridge = torch.bmm((down * torch.from_numpy(ink)[..., None]).mT, across) / (2 * math.pi * _SIGMA**2)
    straight = math.log(math.sqrt(2 * math.pi) * _SIGMA)
    squared = -2 * _SIGMA**2 * (ridge.clamp(min=1e-9).log() + straight)
    step = ((torch.from_numpy(radius)[:, None, None] - squared.clamp(min=0).sqrt()) / _EDGE + 0.5).clamp(0, 1)
    return _centred(step**2 * (3 - 2 * step))


def _centred(images: Float[torch.Tensor, "example row column"]) -> Pixels:
    """Move each image by whole pixels so that its centre of mass is that of MNIST, and round to bytes."""
    position = torch.arange(SIDE, dtype=torch.float64)
    ink = images.sum((1, 2))
    margin = int(SIDE - _BOX) // 2
    for axis in (1, 2):
        mass = (images.sum(3 - axis) @ position) / ink
        shift = (_CENTRE - mass).round().clamp(-margin, margin).long()
        source = (torch.arange(SIDE) - shift[:, None]) % SIDE
        images = images.gather(axis, source.unsqueeze(3 - axis).expand_as(images))
    return (255 * images).round().to(torch.uint8).flatten(1).numpy()
