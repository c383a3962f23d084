"""Lists of seeds, layers, numbers and classes as users write them."""

import pytest

from stylegan2ada.cli_values import class_label, parse_classes, parse_layers, parse_numbers, parse_seeds
from stylegan2ada.errors import UserError

NAMES = ("normal", "abnormal", "2")


class TestSeeds:
    def test_order_is_kept_and_repeats_are_dropped(self):
        assert parse_seeds("7, 0-2,1,4294967295") == [7, 0, 1, 2, 4294967295]

    @pytest.mark.parametrize("text", ["1e3", "", "3-", "-3", "1,,2"])
    def test_raises_and_names_the_option(self, text):
        with pytest.raises(UserError, match=f"--rows {text}: .* neither a number nor a range"):
            parse_seeds(text, "--rows")


def test_layers_end_with_the_network():
    assert parse_layers("0-2,9", 10) == [0, 1, 2, 9]
    with pytest.raises(UserError, match="--styles 8-10: 10 is too large; this network has 10 layers, they go up to 9"):
        parse_layers("8-10", 10)


class TestNumbers:
    def test_signs_points_and_repeats_stay(self):
        assert parse_numbers("0, -0.5,1,1", "--psi") == [0.0, -0.5, 1.0, 1.0]

    @pytest.mark.parametrize("text", ["", "1,x", "1,,2", "inf", "nan"])
    def test_raises(self, text):
        with pytest.raises(UserError, match=f"--psi {text}: .*write for example 0,0.5,1"):
            parse_numbers(text, "--psi")


class TestClasses:
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [([], []), (["abnormal", "0", "1"], [1, 0]), (["all"], [0, 1, 2]), (["1", "all"], [1, 0, 2]), (["2"], [2])],
    )
    def test_names_come_before_numbers(self, wanted, expected):
        assert parse_classes(wanted, 3, NAMES) == expected

    def test_a_class_may_be_called_all(self):
        assert parse_classes(["all"], 2, ("some", "all")) == [1]

    def test_unconditional(self):
        assert parse_classes([], 0, None) == []
        with pytest.raises(UserError, match="--class all: this network is unconditional"):
            parse_classes(["all"], 0, None)

    @pytest.mark.parametrize("wanted", ["3", "-1", "Normal", ""])
    def test_unknown(self, wanted):
        with pytest.raises(UserError, match=f"--class {wanted}: .* from 0 to 2 or a name: normal, abnormal"):
            parse_classes([wanted], 3, NAMES)

    def test_labels(self):
        assert [class_label(1, NAMES), class_label(1, None), class_label(None, None)] == ["abnormal", "class 1", ""]
