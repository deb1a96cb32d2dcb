"""What all tests share: one thread each, and shapes and types of signatures checked while they run."""

import signal
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch
from jaxtyping import config, install_import_hook

install_import_hook(
    [f"bathymetry.{folder}" for folder in ("data", "models", "training", "linalg", "surface", "probes")],
    "typecheck.checked",
)

# no test is timed: another process on the machine must not make one fail
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def _one_thread_a_worker() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_arrives() -> None:
    """A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Call as a user does, without the check of shapes and types: the program's own sentence must answer."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in {"fault", "fuzz"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(name)


@pytest.fixture
def fault(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Enter a fault that the test caused, and what came of it in figures, into the table of docs/faults.md."""

    def enter(words: str, outcome: str) -> None:
        record_property("fault", words)
        record_property("outcome", outcome)

    return enter
