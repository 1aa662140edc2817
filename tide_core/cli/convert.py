"""``tide convert``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import console, load_registry, plugin_option, spoken


@click.command()
@click.argument("checkpoint", metavar="PATH")
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["block_diffusion", "bidirectional", "block_causal"]),
    help="How the student denoises.",
)
@click.option("-o", "--output", required=True, type=click.Path(), metavar="OUT", help="A new directory.")
@click.option("--block-size", type=click.IntRange(min=1), metavar="N", help="Tokens of a block.  [default: 32]")
@click.option(
    "--mask-token",
    metavar="TEXT",
    help="An existing token that serves as mask; default: the tokenizer's, or a new one.",
)
@click.option(
    "--shift",
    type=click.Choice(["none", "right"]),
    help="Default: what the checkpoint has; a model that predicts next tokens keeps doing so (right).",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Default: what the weights are stored in; bfloat16 for a .gguf file.",
)
@click.option(
    "--data", metavar="FILE|YAML", help="What the recipe trains on: a JSON Lines file, or a dataset with its options."
)
@click.option(
    "--architecture",
    metavar="NAME|YAML",
    help="What loads PATH, with options; default: its run's, or else what knows it.",
)
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@plugin_option
def command(
    checkpoint: str,
    form: str,
    output: str,
    block_size: int | None,
    mask_token: str | None,
    shift: str | None,
    dtype: str | None,
    data: str | None,
    architecture: str | None,
    trust_remote_code: bool,
    plugins: tuple[str, ...],
) -> None:
    """Make a diffusion student out of an autoregressive or masked model, and the recipe that trains it.

    PATH is a model directory, a .gguf file, a hub name or package:NAME. OUT receives the weights, the tokenizer with its
    mask token, tide.json, a model card and train.yaml, a run without a teacher.

    \b
    Example:
      tide convert package:smollm2 --to block_diffusion -o student --data texts.jsonl
      tide convert ./bert --to bidirectional -o student
    """
    if form == "bidirectional" and block_size is not None:
        raise click.UsageError("a bidirectional student has no blocks: leave --block-size out")
    registry = load_registry(plugins)
    from ..conversion import Conversion, convert
    from ..inspection import model_architecture

    source = model_architecture(checkpoint, registry, architecture)
    wanted = Conversion(
        form=form,  # type: ignore[arg-type]
        block_size=None if form == "bidirectional" else block_size or 32,
        shift=shift,
        mask_token=mask_token,
        dtype=dtype,
        data=data,
    )
    with spoken(), console(error=True).status("converting"):
        made = convert(source, wanted, Path(output), registry, trust_remote_code=trust_remote_code)
    click.echo(f"student: {made.directory} ({made.dtype}, mask token {made.mask_token})")
    click.echo(f"recipe: {made.recipe}; train it with  tide run {made.recipe}")
