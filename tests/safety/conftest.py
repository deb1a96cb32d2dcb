from collections.abc import Callable, Iterator

import pytest

from safety.fuzzing import Fuzz


@pytest.fixture
def fuzz(request: pytest.FixtureRequest, fault: Callable[[str, str], None], unchecked: None) -> Iterator[Fuzz]:
    """Try many cases; the first line of the test's docstring is the fault in docs/faults.md."""
    one = Fuzz()
    yield one
    if one.read + one.refused:
        fault(request.function.__doc__.strip().partition("\n")[0].rstrip("."), one.outcome)
