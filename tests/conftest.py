"""What all tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread_a_worker() -> None:
    torch.set_num_threads(1)
