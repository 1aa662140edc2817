"""The denoiser contract: any model that predicts the clean tokens of a noised sequence.

Shapes: B rows, L tokens, V views (noised versions of the same clean rows), H hidden size, N positions, C vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .text import TextTokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .attention import AttentionBackend

Role = Literal["teacher", "student"]
Form = Literal["bidirectional", "block_diffusion", "block_causal", "autoregressive"]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how a model is loaded.

    device: e.g. ``torch.device("cuda", 1)``; dtype: of the weights (a student trained in bf16 still loads float32 master
    weights); attention: the backend that the model's layers call; seed: for random initialisation.
    """

    device: torch.device
    dtype: torch.dtype
    attention: AttentionBackend
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Head:
    """The output projection, as data, so that it can be applied to slices of the positions that need it.

    logits = cap(scale * (hidden @ weight.T + bias)), cap(z) = softcap * tanh(z / softcap) where ``softcap`` is set.
    weight [C, H]; bias [C] or ``None``.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def project(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """Hidden states [n, H] -> raw products [n, C], in the dtype of ``hidden``; written to ``out``, without gradient."""
        import torch

        weight, bias = self.weight.to(hidden.dtype), None if self.bias is None else self.bias.to(hidden.dtype)
        if out is None:
            return torch.nn.functional.linear(hidden, weight, bias)
        torch.mm(hidden, weight.T, out=out)
        return out if bias is None else out.add_(bias)

    def finish(self, raw: Tensor) -> Tensor:
        """Raw products [n, C] -> float32 logits [n, C]."""
        logits = raw.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * (logits / self.softcap).tanh()
        return logits

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [n, H] -> float32 logits [n, C]. For few positions; see ``log_likelihood`` for many."""
        return self.finish(self.project(hidden))

    def slices(self, count: int, *, elements: int = 1 << 25) -> Iterator[slice]:
        """Yield slices of like size over ``count`` positions whose logits hold at most ``elements`` numbers each."""
        most = max(1, elements // int(self.weight.shape[0]))
        step = max(1, -(-count // -(-count // most))) if count else 1
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))

    def log_likelihood(self, hidden: Tensor, targets: Tensor, *, elements: int = 1 << 24) -> Tensor:
        """Hidden states [n, H] and target ids [n] -> float32 log p(target) [n], without gradient, in slices.

        Slices of at most ``elements`` logits follow each other in one buffer: fresh memory would cost more than the
        softmax.
        """
        import torch

        with torch.no_grad():
            found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
            parts = list(self.slices(hidden.shape[0], elements=elements))
            rows = max((part.stop - part.start for part in parts), default=0)
            buffer = hidden.new_empty(rows, self.weight.shape[0])
            for part in parts:
                logits = self.finish(self.project(hidden[part], buffer[: part.stop - part.start]))
                torch.log_softmax(logits, 1, out=logits)
                found[part] = logits.gather(1, targets[part, None])[:, 0]
            return found


class DecodingSession(ABC):
    """Incremental decoding of B rows with a key/value cache that is appended to, never copied or recomputed."""

    lengths: Tensor
    """[B] int64: tokens of each row that are in the cache."""

    @abstractmethod
    def extend(self, clean: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Append clean tokens [B, n] (the first ``lengths`` [B] of each row) to the cache; return hidden [B, n, H]."""

    @abstractmethod
    def hidden(self, noised: Tensor) -> Tensor:
        """Predict the tokens that follow the cache: noised [B, n] -> hidden [B, n, H]; the cache stays as it was."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` [b] int64 of the batch; finished rows leave it."""


class Denoiser(ABC):
    """A loaded model. ``hidden(...)[:, i]`` predicts token i of the clean sequence, whatever the model's native shift.

    Shifts, [x_t, x_0] concatenation, position ids and attention layouts are the denoiser's business, never the core's.
    """

    form: Form
    block_size: int | None = None
    """Block length of the block forms, else ``None``. The core pads rows to a multiple of it."""
    module: nn.Module
    """Everything trainable: what the optimizer, Accelerate and checkpoints see."""
    tokenizer: TextTokenizer
    mask_token_id: int | None = None
    """``None`` for autoregressive models, which read only clean tokens, and for those that learn from random tokens."""
    longest: int | None = None
    """Most tokens a row may have, as a learned position table has it; ``None``: positions are computed, without limit."""
    trained_length: int | None = None
    """Tokens of the longest row that the model was made for, where it says so; samplers warn beyond it."""

    @abstractmethod
    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised and clean ids [B, L], lengths [B], documents [B, L] -> hidden states [B, L, H] before the head."""

    def hidden_views(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised ids [V, B, L] of the same clean rows [B, L] -> hidden states [V, B, L, H].

        The default runs the views as one larger batch. Override where views can share work: a block-diffusion model
        computes its clean stream once, an autoregressive model ignores the noise altogether.
        """
        views, rows, length = noised.shape
        hidden = self.hidden(
            noised.reshape(views * rows, length),
            clean.repeat(views, 1),
            lengths.repeat(views),
            None if documents is None else documents.repeat(views, 1),
        )
        return hidden.reshape(views, rows, length, -1)

    @abstractmethod
    def head(self) -> Head:
        """Return the output projection. Called inside the forward pass, so that sharded weights are gathered."""

    @abstractmethod
    def save(self, path: str) -> None:
        """Write weights (safetensors), configuration and tokenizer into the directory ``path``, in the family's format."""

    def session(self, rows: int) -> DecodingSession:
        """Return an empty decoding session for ``rows`` rows. Raises ``NotImplementedError`` where there is no cache."""
        raise NotImplementedError(f"{type(self).__name__} has no incremental decoding")

    def facts(self) -> dict[str, Any]:
        """Return what a report should say of the model: family, parameters, attention."""
        return {"parameters": sum(p.numel() for p in self.module.parameters())}
