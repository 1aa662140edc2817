"""The command line, from the click commands."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tide_core.cli.main import cli

from .markdown import fence

WIDTH = 100


def walk(command: click.Command, path: tuple[str, ...] = ("tide",)) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, groups before their members."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from walk(member, (*path, name))


def commands(page: str) -> str:
    """Every command with its help, as the terminal shows it."""
    parts: list[str] = []
    for words, command in walk(cli):
        level = "##" if len(words) < 3 else "###"
        parts.append(f"{level} {' '.join(words)} {{ #{'-'.join(words)} }}")
        parts.append(fence(help_text(words, command)))
    return "\n\n".join(parts)


def help_text(words: tuple[str, ...], command: click.Command) -> str:
    """What ``--help`` prints."""
    context = click.Context(
        command,
        info_name=" ".join(words),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)
