"""Lets tests take their cases from beside them, as `from charts.cases import losses`."""

import sys
from pathlib import Path

_TESTS = str(Path(__file__).parent.parent)
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
