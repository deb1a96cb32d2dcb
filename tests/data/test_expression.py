"""Expressions in x have NumPy's values; any other text is refused with the spelling that works."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.data.functions import FUNCTIONS, evaluate

X = np.concatenate([np.linspace(-10, 10, 41), [0.3, np.pi, -1e-9]])


def named(text, function):
    return st.just((text, function))


LEAVES = st.one_of(
    named("x", lambda x: x),
    named("pi", lambda x: np.float64(np.pi)),
    named("e", lambda x: np.float64(np.e)),
    st.floats(0, 1000).map(lambda value: (repr(value), lambda x: np.float64(value))),
    st.integers(0, 300).map(lambda value: (str(value), lambda x: np.float64(value))),
)
OPERATIONS = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power, "%": np.mod, "//": np.floor_divide,
}  # fmt: skip
NUMPYS = ("abs", "arcsinh", "arctan", "cos", "exp", "floor", "log", "sign", "sin", "sinc", "sqrt", "tan", "tanh")


def combined(parts):
    def binary(sign, left, right):
        return f"({left[0]}) {sign} ({right[0]})", lambda x: OPERATIONS[sign](left[1](x), right[1](x))

    def called(name, inside):
        return f"{name}({inside[0]})", lambda x: getattr(np, name)(inside[1](x))

    def chosen(test, left, right):
        text = f"({left[0]}) if ({test[0]}) > 0.5 else ({right[0]})"
        return text, lambda x: np.where(test[1](x) > 0.5, left[1](x), right[1](x))

    return st.one_of(
        st.builds(binary, st.sampled_from(list(OPERATIONS)), parts, parts),
        st.builds(called, st.sampled_from(NUMPYS), parts),
        st.builds(chosen, parts, parts, parts),
        parts.map(lambda one: (f"-({one[0]})", lambda x: -one[1](x))),
    )


@given(st.recursive(LEAVES, combined, max_leaves=12))
def test_any_expression_has_the_values_that_numpy_gives(expression):
    text, function = expression
    with np.errstate(all="ignore"):
        expected = np.broadcast_to(function(X), X.shape)
    values = evaluate(text, X)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(values[finite], expected[finite])
    assert np.isnan(values[~finite]).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x*sin(x)", X * np.sin(X)),
        ("x*x", X * X),
        ("exp(-x**2)*cos(5*x)", np.exp(-(X**2)) * np.cos(5 * X)),
        ("101*x", 101 * X),
        ("sin(200*x)", np.sin(200 * X)),
        ("x^2", X**2),
        ("2x^2 - 3x + 1", 2 * X**2 - 3 * X + 1),
        ("-x^2", -(X**2)),
        ("5pi*x", 5 * np.pi * X),
        ("sin(2πx)", np.sin(2 * np.pi * X)),
        ("3(x + 1)(x − 1)", 3 * (X + 1) * (X - 1)),
        ("x sin(x)", X * np.sin(X)),
        ("0.5x·cos(x)", 0.5 * X * np.cos(X)),
        ("x³ − 3x", X**3 - 3 * X),
        ("e^(-x/5)", np.exp(1) ** (-X / 5)),
        ("sgn(sin(x))", np.sign(np.sin(X))),
        ("ln(1 + x^2)", np.log(1 + X**2)),
        ("max(0, x, 1 - x)", np.maximum(np.maximum(0, X), 1 - X)),
        ("relu(x) - min(x, 0)", np.abs(X)),
        ("x if x > 0 else 0", np.where(X > 0, X, 0)),
        ("sin(x)/x if x != 0 else 1", np.sinc(X / np.pi)),
        ("0 < x <= 1", (X > 0) & (X <= 1)),
        ("(x > 0) + (x > 1)", np.heaviside(X, 0) + np.heaviside(X - 1, 0)),
        ("x > 0 and not x > 1", (X > 0) & (X <= 1)),
        ("x < 0 or x > 1", (X < 0) | (X > 1)),
        ("sigmoid(x)", 1 / (1 + np.exp(-X))),
        ("softplus(x)", np.log(1 + np.exp(X))),
        ("x % 1", X - np.floor(X)),
        ("1_000x", 1000 * X),
        ("+".join(["x"] * 900), 900 * X),
    ],
)
def test_common_spellings_are_understood(text, expected):
    np.testing.assert_allclose(evaluate(text, X), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_one_argument_and_writes_into_none(name):
    x = np.linspace(0.1, 0.9, 5)
    before = x.copy()
    with pytest.raises(InputError, match=f"{name} takes exactly one argument"):
        evaluate(f"{name}(x, x)", x)
    values = evaluate(f"{name}(x)", x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(values, evaluate(name, x))


def test_the_values_of_an_expression_are_not_the_points_themselves():
    x = np.zeros(3)
    evaluate("x", x)[:] = 1
    assert not x.any()


HOSTILE = [
    "'a' * 10**9", "[x] * 10**9", "[x for x in x]", "(x for x in x)", "{x}", "x.real", "().__class__", "f'{x}'",
    "__import__('os')", "open('f')", "eval(x)", "lambda: x", "x << 9", "x >> 9", "x := 3", "x; x", "x[0]", "*x", "x,",
    "sin(x, out=x)", "sin(*x)", "sin()", "sin(sin)", "max", "max()", "1e999", "9" * 5000, "2j", "1j", "x @ x",
    "(" * 300 + "x" + ")" * 300, "+".join(["x"] * 5001), "-" * 1999 + "x", "not " * 999 + "x", "2**" * 990 + "x",
    "x if x " * 300, "x if 1 else " * 400 + "x", "x # x", "'", '"""', "\\", "x\n+ 1", "\x00", "x\x1b[31m", "()",
    "(", ")", "a" * 5000, "x" * 5000, "0b1", "01", "None", "True", "nan", "inf", "x x x )", "٣x",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_other_text_is_refused_in_one_short_sentence(text):
    with pytest.raises(InputError) as caught:
        evaluate(text, X)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


@given(st.text("x0123456789_.+-*/%^()<>=!,einosp πr²|'[]_ ", max_size=30))
def test_any_text_is_computed_or_refused(text):
    refusal = ""
    try:
        assert evaluate(text, X).shape == X.shape
    except InputError as error:
        refusal = str(error)
    assert refusal.isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sin x", "such as sin(x)"),
        ("sin²(x)", "write sin(x)**2"),
        ("|x|", "write abs(x)"),
        ("√x", "write sqrt(x)"),
        ("np.sin(x)", "without “np.”"),
        ("Sin(x)", "write sin"),
        ("sinx", "write sin(x)"),
        ("pix", "write pi*x"),
        ("cosinus(x)", "did you mean cos"),
        ("tg(x)", "write tan(x)"),
        ("pow(x, 2)", "write x**2"),
        ("t", "the variable is x"),
        ("f(x) = x^2", "right of ="),
        ("lambda x: x**2", "after “lambda x:”"),
        ("1,5*x", "decimals with a point"),
        ("1/2x", "can be read in two ways"),
        ("e^2x", "can be read in two ways"),
        ("e^-2x", "can be read in two ways"),
        ("1/sin(x)cos(x)", "can be read in two ways"),
        ("(x + 1", "a bracket is not closed"),
        ("x + 1)", "closes that was not opened"),
    ],
)
def test_unknown_spellings_are_refused_with_the_one_that_works(text, words):
    with pytest.raises(InputError) as caught:
        evaluate(text, X)
    assert words in str(caught.value)


def test_inputs_without_a_finite_value_are_named():
    x = bm.data.function("x").train.inputs.ravel()
    negative = x[x < 0]
    others = f"{len(negative) - 1} of the other 999 inputs, between {negative.min():.4g} and {negative.max():.4g};"
    with pytest.raises(InputError) as caught:
        bm.data.function("sqrt(x)")
    assert f"it has no finite value at x = {negative[0]:.4g}, and at {others}" in str(caught.value)


def test_targets_beyond_float32_are_refused_with_their_inputs():
    with pytest.raises(InputError, match=r"range of float32, at x = 9\.") as caught:
        bm.data.function("exp(10*x)")
    # exp(10 x) passes the largest float32, 3.4e38, at x = 8.87
    assert "between 8.9" in str(caught.value)


def test_many_samples_change_nothing():
    data = bm.data.function("sin(x) + cos(x)", samples=60_000, test_samples=1)
    x = data.x_train.double().numpy()
    np.testing.assert_array_equal(data.y_train.numpy(), (np.sin(x) + np.cos(x)).astype(np.float32))


DIGESTS = {  # stored results are found again by these
    "cos": "4bf2941257022af14206cade64755808",
    "arcsinh": "97ede169db748f57ff88fbdb6406e3d0",
    "sin(3*x)/x": "563986a6d9e6ea23534d8f9f08110d8d",
    "exp(-x**2)": "b34cf6d544d0759110c095f4f8d2fd7b",
    "2**3*x - x % pi": "fd77cf0b5886a06e426cff69aaa91958",
}


@pytest.mark.parametrize("text", DIGESTS)
def test_the_digest_of_a_function_stays_what_it_was(text):
    assert bm.data.function(text).digest == DIGESTS[text]
