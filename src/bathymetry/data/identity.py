"""The digest by which stored results know their data again."""

import hashlib

from bathymetry.data.examples import Examples


def digest(train: Examples, test: Examples) -> str:
    """Take the digest of all that a data set holds.

    Args:
        train: Its training examples.
        test: Its test examples.

    Returns:
        BLAKE2b over shapes, dtypes, scale and bytes, 32 hexadecimal digits.
    """
    state = hashlib.blake2b(digest_size=16)
    for examples in (train, test):
        for tensor in (examples.inputs, examples.targets):
            state.update(f"{tensor.dtype}{tuple(tensor.shape)}{examples.scale!r}".encode())
            state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
