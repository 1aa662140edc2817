"""What several commands share: their options, the registry with its warnings, and how problems are printed."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from ..problems import Problem
    from ..registry import Registry

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

UNFOLDED = 10_000
"""Columns of a console that is not a terminal: what is searched or filtered line by line must not be folded."""

Command = TypeVar("Command", bound=Callable[..., Any])


def run_file(command: Command) -> Command:
    """The argument FILE."""
    return click.argument("file", type=click.Path(), metavar="FILE")(command)


def override_option(command: Command) -> Command:
    """The option ``--set``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="PATH=VALUE",
        help="Change one value of the run file, e.g. training.steps=50 or losses[1].weight=0.5. Repeatable.",
    )(command)


def plugin_option(command: Command) -> Command:
    """The option ``--plugin``."""
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=click.Path(),
        metavar="FILE.py",
        help="Load a plugin that is one Python file. Repeatable.",
    )(command)


def load_registry(plugins: Sequence[str] = ()) -> Registry:
    """Discover all plugins; what is wrong with any of them goes to stderr, one line each."""
    from ..registry import PluginWarning, Registry

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        registry = Registry.discover(plugins)
    for warning in caught:
        if issubclass(warning.category, PluginWarning):
            click.echo(f"warning: {warning.message}", err=True)
    return registry


@contextlib.contextmanager
def spoken() -> Iterator[None]:
    """Say on stderr what the core logs, and what Python warns of, in plain lines; the first process speaks for all."""
    import logging

    class Speaker(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"{'warning: ' if record.levelno >= logging.WARNING else ''}{record.getMessage()}")

    def say(text: str) -> None:
        if os.environ.get("RANK", "0") == "0":
            click.echo(text, err=True)

    logger, speaker = logging.getLogger("tide_core"), Speaker()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(speaker)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"warning: {message}")
            yield
    finally:
        logger.removeHandler(speaker)
        logger.setLevel(level)


def device_option(command: Command) -> Command:
    """The option --device; a name that is none is refused at once, whether the device is there is for later."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        callback=_device,
        help="auto, cpu, cuda or cuda:N.",
    )(command)


def _device(context: click.Context, parameter: click.Parameter, value: str) -> str:
    from ..settings import device_name

    try:
        return device_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from None


def sampler_options(texts: Sequence[str]) -> dict[str, Any]:
    """``["temperature=0.7"]`` -> ``{"temperature": 0.7}``; values are read as in a run file."""
    import yaml

    from tide_specs import ConfigError

    from ..yaml_source import parse_value

    options: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"--set {text}: write  --set OPTION=VALUE, e.g. --set temperature=0.7")
        try:
            options[name.strip()] = parse_value(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {text}: the value is not valid YAML: {getattr(error, 'problem', error)}"
            ) from None
    return options


def print_warnings(problems: Iterable[Problem]) -> None:
    """Print warnings about a mix to stderr."""
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)


def console(*, error: bool = False) -> Console:
    """A console on stdout (or stderr): as wide as the terminal; in a pipe a row is one line, however long its path."""
    from rich.console import Console

    plain = Console(highlight=False, stderr=error)
    return plain if plain.is_terminal else Console(highlight=False, width=UNFOLDED, stderr=error)
