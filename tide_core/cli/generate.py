"""``tide generate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .common import console, load_registry, plugin_option

if TYPE_CHECKING:
    from tide_specs import Component

    from ..generation import Generation


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="Text to go on from. Repeatable; default: stdin."
)
@click.option("--chat", is_flag=True, help="Prompts are what a user says in a chat; the student answers.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--sampler", metavar="NAME", help="Default: autoregressive or block, as the model's form asks for.")
@click.option(
    "--set", "options", multiple=True, metavar="OPTION=VALUE", help="An option of the sampler, e.g. temperature=0.7."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--architecture",
    metavar="NAME|YAML",
    help="What loads CHECKPOINT, with options; default: what its run says, or else huggingface.",
)
@click.option("--attention", default="sdpa", show_default=True, metavar="NAME")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugin_option
def command(
    checkpoint: str,
    prompts: tuple[str, ...],
    chat: bool,
    max_new_tokens: int,
    sampler: str | None,
    options: tuple[str, ...],
    seed: int,
    architecture: str | None,
    attention: str,
    device: str,
    trust_remote_code: bool,
    as_json: bool,
    plugins: tuple[str, ...],
) -> None:
    """Let a trained student write. CHECKPOINT is a run folder, a checkpoint, or the directory of a saved student.

    \b
    Example:
      tide generate runs/demo -p 'def median(values):'
      tide generate runs/chat/student --chat -p 'Why is the sky blue?' --set commit=threshold
      tide generate ./llama --architecture '{name: huggingface, form: autoregressive}' -p 'Once upon a time'
    """
    from ..saved_students import find_student, student_architecture
    from ..settings import device_name

    try:
        device_name(device)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from None
    registry = load_registry(plugins)
    found = student_architecture(find_student(checkpoint), registry, architecture)
    chosen = _sampler(found, registry, sampler, options)
    registry.build("attention", attention)
    texts = _prompts(prompts)
    from ..assembly import describer
    from ..generation import generate

    with console(error=True).status("writing"):
        generation = generate(
            found,
            chosen,
            texts,
            registry,
            describer(registry),
            chat=chat,
            max_new_tokens=max_new_tokens,
            seed=seed,
            attention=attention,
            device=device,
            trust_remote_code=trust_remote_code,
        )
    if as_json:
        click.echo(json.dumps(_record(generation, found, chosen, seed), indent=2, ensure_ascii=False))
    else:
        _print(generation)


def _sampler(architecture: Any, registry: Any, name: str | None, options: Sequence[str]) -> Any:
    """Build the sampler: by default the one that the model's form asks for."""
    form = architecture.denoiser_form
    usual = "autoregressive" if form == "autoregressive" else "block"
    return registry.build("sampler", {"name": name or usual, **_options(options)})


def _options(texts: Sequence[str]) -> dict[str, Any]:
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


def _prompts(given: Sequence[str]) -> list[str]:
    """Return the prompts given, or all of stdin as one."""
    if given:
        return list(given)
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("nothing to go on from: give a prompt with -p TEXT, or pipe one in")
    return [sys.stdin.read()]


def _print(generation: Generation) -> None:
    """Texts go to stdout and figures to stderr, so that a pipe holds the texts alone."""
    several = len(generation.written) > 1
    for number, written in enumerate(generation.written, 1):
        if several:
            click.secho(f"[{number}] {written.prompt}", bold=True)
        click.echo(written.text)
    tokens = sum(written.tokens for written in generation.written)
    rate = tokens / generation.forwards if generation.forwards else 0.0
    click.echo(
        f"{tokens} tokens in {generation.forwards} forwards ({rate:.1f} tokens each), {generation.seconds:.1f} s",
        err=True,
    )


def _record(generation: Generation, architecture: Component, sampler: Component, seed: int) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "architecture": architecture.model_dump(mode="json"),
        "sampler": sampler.model_dump(mode="json"),
        "seed": seed,
        "forwards": generation.forwards,
        "seconds": generation.seconds,
        "written": [asdict(written) for written in generation.written],
    }
