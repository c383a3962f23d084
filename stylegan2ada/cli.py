"""What the command-line scripts share: a mistake is one line on stderr and exit status 2, never a traceback."""

import click

from .errors import UserError


class _OneLineError(click.ClickException):
    exit_code = 2


class Command(click.Command):
    """A click command that reports usage errors and `UserError` alike, in one line."""

    def make_context(self, *args, **kwargs) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _OneLineError(_one_line(error.format_message())) from None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _OneLineError(_one_line(error.format_message())) from None
        except UserError as error:
            raise _OneLineError(_one_line(str(error))) from None
        except PermissionError as error:  # even to ask whether a file exists takes a permission
            if error.filename is None:
                raise
            raise _OneLineError(_one_line(f"{error.filename} cannot be used: {error.strerror}")) from None


def _one_line(message: str) -> str:
    return " ".join(message.split())
