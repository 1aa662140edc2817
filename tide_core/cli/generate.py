"""``tide generate``."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import click

from .common import console, device_option, load_registry, plugin_option, sampler_options

if TYPE_CHECKING:
    from ..denoising_trace import Recorder
    from ..generation import Generation
    from ..generation_display import GenerationDisplay


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="Text to go on from. Repeatable; default: stdin."
)
@click.option("--chat", is_flag=True, help="Prompts are what a user says in a chat; the student answers.")
@click.option("--system", metavar="TEXT", help="With --chat: what the chat's system message says.")
@click.option(
    "--infill",
    is_flag=True,
    help="Fill the gaps of the prompts: <gap:12> is one of 12 tokens, <gap> one of --max-new-tokens.",
)
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--sampler", metavar="NAME", help="Default: what the model asks for, e.g. autoregressive or block.")
@click.option(
    "--set", "options", multiple=True, metavar="OPTION=VALUE", help="An option of the sampler, e.g. temperature=0.7."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--architecture",
    metavar="NAME|YAML",
    help="What loads CHECKPOINT, with options; default: what its run says, or else what knows it.",
)
@click.option("--attention", default="sdpa", show_default=True, metavar="NAME")
@device_option
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@click.option(
    "--trace", metavar="FILE.html", help="Write a page that plays the denoising step by step; it needs no network."
)
@click.option("--no-live", is_flag=True, help="Do not show the text on the terminal while it is written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--steps", "with_steps", is_flag=True, help="With --json: add every step of every text.")
@plugin_option
def command(
    checkpoint: str,
    prompts: tuple[str, ...],
    chat: bool,
    system: str | None,
    infill: bool,
    max_new_tokens: int,
    sampler: str | None,
    options: tuple[str, ...],
    seed: int,
    architecture: str | None,
    attention: str,
    device: str,
    trust_remote_code: bool,
    trace: str | None,
    no_live: bool,
    as_json: bool,
    with_steps: bool,
    plugins: tuple[str, ...],
) -> None:
    """Let a trained student write. CHECKPOINT is a run folder, a checkpoint, or the directory of a saved student.

    \b
    Example:
      tide generate runs/demo -p 'def median(values):'
      tide generate runs/chat/student --chat -p 'Why is the sky blue?' --set commit=threshold
      tide generate runs/demo -p 'import' -p 'class A:' --trace trace.html
      tide generate runs/demo --infill -p 'def f(x):<gap:12> return x'
      tide generate ./llama --architecture '{name: huggingface, form: autoregressive}' -p 'Once upon a time'
    """
    from ..saved_students import find_student, student_architecture

    _require_sense(trace, chat=chat, system=system, infill=infill, as_json=as_json, with_steps=with_steps)
    registry = load_registry(plugins)
    found = student_architecture(find_student(checkpoint), registry, architecture)
    chosen = _sampler(found, registry, sampler, options)
    registry.build("attention", attention)
    texts = _prompts(prompts)
    from ..assembly import describer
    from ..denoising_trace import Recorder, page
    from ..generation import generate
    from ..generation_record import record
    from ..generation_record import trace as traced
    from ..html_pages import write_page
    from ..prompting import Prompting

    prompting = Prompting(chat=chat, system=system, infill=infill, gap=max_new_tokens)
    recorder = Recorder() if trace or with_steps else None
    with _display(as_json or no_live) as display:
        generation = generate(
            found,
            chosen,
            texts,
            registry,
            describer(registry),
            prompting=prompting,
            max_new_tokens=max_new_tokens,
            seed=seed,
            attention=attention,
            device=device,
            trust_remote_code=trust_remote_code,
            spectators=[spectator for spectator in (recorder, display) if spectator is not None],
        )
    if as_json:
        whole = record(generation, found, chosen, seed, recorder if with_steps else None)
        click.echo(json.dumps(whole, indent=None if with_steps else 2, ensure_ascii=False))
    else:
        _print(generation)
    _say_silent(chosen.name, recorder, display)
    if trace and recorder is not None:
        write_page("--trace", trace, page(traced(generation, found, chosen, seed, recorder, prompting)))
        click.echo(f"trace: {trace}", err=True)


def _require_sense(
    trace: str | None,
    *,
    chat: bool,
    system: str | None,
    infill: bool,
    as_json: bool,
    with_steps: bool,
) -> None:
    """Refuse options that cannot be followed, before anything is loaded."""
    from ..html_pages import require_writable

    if system is not None and not chat:
        raise click.UsageError("--system is the system message of a chat: add --chat, or leave it out")
    if infill and chat:
        raise click.UsageError("--infill fills gaps of plain texts: leave --chat out")
    if with_steps and not as_json:
        raise click.UsageError("--steps adds to the JSON record: add --json, or use --trace FILE.html for a page")
    if trace is not None:
        require_writable("--trace", trace, "trace.html")


@contextlib.contextmanager
def _display(plain: bool) -> Generator[GenerationDisplay | None]:
    """Show the texts coming about: on a terminal that can, and if nobody reads the texts through a pipe."""
    from ..generation_display import GenerationDisplay

    shown = console(error=True)
    if plain or not shown.is_terminal or shown.is_dumb_terminal or not sys.stdout.isatty():
        with shown.status("writing"):
            yield None
    else:
        with GenerationDisplay(shown) as display:
            yield display


def _say_silent(sampler: str, recorder: Recorder | None, display: GenerationDisplay | None) -> None:
    if (recorder is not None and recorder.silent) or (display is not None and not display.steps):
        click.echo(f"note: sampler '{sampler}' does not tell of its steps, so only its result can be shown", err=True)


def _sampler(architecture: Any, registry: Any, name: str | None, options: Sequence[str]) -> Any:
    """Build the sampler: by default the one that the model asks for."""
    return registry.build("sampler", {"name": name or architecture.usual_sampler, **sampler_options(options)})


def _prompts(given: Sequence[str]) -> list[str]:
    """Return the prompts given, or all of stdin as one."""
    if given:
        return list(given)
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("nothing to go on from: give a prompt with -p TEXT, or pipe one in")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no text is named when the prompt is encoded
    return [sys.stdin.read()]


def _print(generation: Generation) -> None:
    """Texts go to stdout and figures to stderr, so that a pipe holds the texts alone."""
    from ..generation_display import printable

    several, terminal = len(generation.written) > 1, sys.stdout.isatty()
    for number, written in enumerate(generation.written, 1):
        if several:
            click.secho(f"[{number}] {printable(written.prompt) if terminal else written.prompt}", bold=True)
        click.echo(printable(written.text) if terminal else written.text)
    click.echo(
        f"{generation.tokens} tokens in {generation.forwards} forwards ({generation.tokens_per_forward:.1f} tokens each), "
        f"{generation.seconds:.1f} s",
        err=True,
    )
