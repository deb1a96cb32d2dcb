"""The 8×8 digits that ship inside scikit-learn: small, real, and always at hand.

Test part of the optical recognition set of Alpaydin and Kaynak 1998, UCI Machine Learning Repository.
"""

import torch
from sklearn.datasets import load_digits

from bathymetry.data.examples import Data, Examples
from bathymetry.data.identity import digest

_TRAIN = 1500


def digits() -> Data:
    """Load the 8×8 digits.

    Returns:
        The first 1,500 for training and the last 297 for testing, pixels from 0 to 16 divided by 16.
    """
    bunch = load_digits()
    inputs = torch.from_numpy(bunch.data).to(torch.uint8)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    train = Examples(inputs[:_TRAIN], labels[:_TRAIN], 1 / 16)
    test = Examples(inputs[_TRAIN:], labels[_TRAIN:], 1 / 16)
    return Data("digits", train, test, digest(train, test), "scikit-learn's 8×8 digits", 10, (8, 8))
