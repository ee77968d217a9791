"""The commands' own help and complaints: typer's, without its talk of Python types and validators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from core.errors import remedy

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.models import CommandFunctionType


class _Argument(TyperArgument):
    """An argument whose help shows its name, and not its Python type beside it; what is required has no braces in the usage."""

    def display_type_rich(self, ctx: typer.Context) -> str | None:  # type: ignore[override]
        return None

    def get_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [piece.replace("{", "").replace("}", "") for piece in super().get_usage_pieces(ctx)]


class _Command(TyperCommand):
    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.__class__ = _Argument  # typer lets nobody choose the class
                parameter.metavar = parameter.metavar or str(parameter.name).upper()

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]
        return _plain(super().get_params(ctx))

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = remedy(error.__cause__) or error.message
            raise


class _Group(TyperGroup):
    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]
        return _plain(super().get_params(ctx))


def _plain(parameters: list[Any]) -> list[Any]:
    """Parameters of which flags look like flags, and not as if a bool followed them."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters


class App(typer.Typer):
    """A group of commands, which takes what :class:`typer.Typer` takes."""

    def __init__(self, **how: Any) -> None:
        super().__init__(cls=_Group, **how)

    def command(self, name: str | None = None, **how: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Makes a function one of the commands, as :meth:`typer.Typer.command` does."""
        return super().command(name, cls=_Command, **how)
