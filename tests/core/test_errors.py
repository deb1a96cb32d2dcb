import pytest

from bathymetry.core.errors import InputError, StorageError, first_line, positive_number, whole_number
from bathymetry.core.system import gigabytes


@pytest.mark.parametrize("value", ["a\nb", "\x1b[31mred", "\u202eabc", "nul\0", "\udc80", ["a\nb"], "x" * 10_000])
def test_a_value_is_shown_in_one_line_that_a_terminal_does_not_obey(value):
    for error in (InputError("data", value, "expected a name"), StorageError(f"{value} can't be read.")):
        assert str(error).isprintable()
    assert len(str(InputError("data", value, "expected a name"))) < 400


def test_letters_of_other_scripts_stay_as_they_are():
    assert str(InputError("data", "Зиффern π", "expected a name")) == "data = Зиффern π: expected a name."


def test_numbers_beyond_floats_are_answered_in_one_sentence():
    for bad in (10**400, float("inf"), float("nan"), 0, True, "1"):
        with pytest.raises(InputError, match=r"^tolerance = "):
            positive_number("tolerance", bad)
    with pytest.raises(InputError, match="expected at most 1,000"):
        whole_number("members", 10**400, 1, 1000)
    assert whole_number("members", 1000, 1, 1000) == 1000


def test_another_librarys_error_and_a_number_of_bytes_are_shortened():
    assert first_line(ValueError("no such shape\nand a trace")) == "no such shape"
    assert first_line(KeyError()) == "KeyError"
    long = first_line(ValueError(f"no column {'x' * 4000} in it."))
    assert long.startswith("no column x")
    assert long.endswith("x in it")
    assert len(long) == 250
    assert [gigabytes(84e9), gigabytes(25_000_000)] == ["84 GB", "25 MB"]


@pytest.mark.parametrize(
    ("remedy", "end"),
    [("expected 1", "expected 1."), ("expected 1.", "expected 1."), ("did you mean cos?", "did you mean cos?")],
)
def test_a_sentence_ends_with_one_mark(remedy, end):
    assert str(InputError("x", 2, remedy)) == f"x = 2: {end}"


def test_another_librarys_full_stop_is_dropped():
    assert first_line(IndexError("Target 7 is out of bounds.\nmore")) == "Target 7 is out of bounds"


@pytest.mark.parametrize("check", [lambda: whole_number("n", "3", 1), lambda: positive_number("n", "3")])
def test_text_in_place_of_a_number_is_shown_as_text(check):
    with pytest.raises(InputError, match="n = '3': expected a"):
        check()


class Silent:
    def __repr__(self):
        raise RuntimeError("no")


def test_a_long_value_keeps_both_ends_and_one_that_can_not_be_shown_is_named_by_its_type():
    text = str(InputError("data", "a" * 500 + "b" * 500, "expected a name"))
    assert text.startswith("data = aaa")
    assert text.endswith("bbb: expected a name.")
    assert len(text) < 150
    assert str(InputError("n", 10**5000, "expected less")) == "n = an int: expected less."
    assert str(InputError("n", Silent(), "expected a number")) == "n = a Silent: expected a number."
