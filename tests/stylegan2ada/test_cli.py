"""Scripts say mistakes in one line."""

import click
import pytest
from click.testing import CliRunner

from stylegan2ada.cli import Command
from stylegan2ada.errors import UserError


def output_of(error: Exception) -> str:
    @click.command(cls=Command)
    def script() -> None:
        raise error

    result = CliRunner().invoke(script)
    if not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2
    return result.output


def test_mistakes_of_the_user():
    assert output_of(UserError("two\nlines")) == "Error: two lines\n"


def test_a_folder_that_may_not_be_searched():
    """Path.exists raises then."""
    found = output_of(PermissionError(13, "Permission denied", "private/n.pkl"))
    assert found == "Error: private/n.pkl cannot be used: Permission denied\n"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error", "a"), PermissionError("odd"), ZeroDivisionError()])
def test_others_are_not_hidden(error):
    with pytest.raises(type(error)):
        output_of(error)
