"""Functions are typed by people and come from specifications: no text is ever run."""

import numpy as np
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.data.functions import FUNCTIONS

SIGNS = "( ( ) ) , . + - * / ** // % ^ < <= == != = := ; : @ & | ~ ² √ π λ \0 \n \x1b[2J [x] {x}"
WORDS = "x e if else and or not max min 9 0 1e308 1e400 9**9**9 10**10**10 .5 5. 1_0 0x1 1j eval exec sys x.__class__"
CODE = [
    "__import__('os').system('touch run')", "().__class__.__bases__", "lambda: x", "'a'*9", "open('run', 'w')",
    "globals()", "f'{x}'", "(" * 200, "-" * 300, "x" * 3000, "9" * 5000, "not ",
]  # fmt: skip
PIECES = [*FUNCTIONS, *SIGNS.split(" "), *WORDS.split(), *CODE]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(max_size=60),
    st.builds(lambda piece, count: (piece * count)[:20_000], st.sampled_from(PIECES), st.integers(1, 3000)),
)


def test_function_expressions(fuzz, tmp_path):
    """Function expressions: nesting, attributes, code, huge powers, any Unicode."""

    def attempt(text):
        data = bm.data.function(text, samples=20)
        assert np.isfinite(data.y_train.numpy()).all()

    fuzz(TEXTS, attempt, writes=tmp_path)
