"""The folder's face: everything by name, nothing heavy by merely importing it."""

import subprocess
import sys

import pytest

from bathymetry import stats


def test_every_public_name_is_there_and_no_function_is_hidden_behind_a_module():
    for name in stats.__all__:
        assert getattr(stats, name) is not None
    for name in (
        "clopper_pearson",
        "brunner_munzel",
        "holm",
        "sign_test",
    ):
        assert callable(getattr(stats, name))


@pytest.mark.parametrize("heavy", ["scipy.stats", "numpy"])
def test_importing_the_folder_imports_nothing_heavy(heavy):
    code = f"import sys, bathymetry.stats; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
