"""Architectures: how a model family becomes a denoiser."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

from .component import Component
from .denoiser import Denoiser, Form, Role, Runtime
from .errors import ConfigError
from .text import TextTokenizer


class Architecture(Component):
    """Kind ``architecture``. ``load`` returns the model; ``tokenizer`` must work without loading it."""

    kind: ClassVar[str] = "architecture"
    roles: ClassVar[frozenset[Role]] = frozenset({"teacher", "student"})
    """The roles that this family can play at all; ``serves`` may narrow them by options."""

    @classmethod
    def recognises(cls, path: str) -> bool:
        """Return whether the model directory ``path`` can only be of this family, by the files that name it.

        Where nothing else says what a directory holds, the architecture that recognises it loads it. One that raises does not.
        """
        return False

    @property
    def usual_sampler(self) -> str:
        """Name of the sampler that lets this model write where the user names none."""
        return "autoregressive" if self.denoiser_form == "autoregressive" else "block"

    def serves(self, role: Role) -> str | None:
        """Return ``None`` when this component, with these options, can play ``role``, otherwise the reason."""
        return None if role in self.roles else f"it serves only as {' or '.join(sorted(self.roles))}"

    @property
    def denoiser_form(self) -> Form:
        """The form of the denoiser that ``load`` returns."""
        return "bidirectional"

    @property
    def length_multiple(self) -> int:
        """Rows are filled with end-of-turn tokens up to a multiple of this (the block size of a block form)."""
        return 1

    @property
    def cache_path(self) -> str | None:
        """Directory of a teacher cache that stands in for the model, which then never loads; ``None``: a model loads."""
        return None

    def check(self, *, trust_remote_code: bool) -> None:
        """Look at the files that ``load`` will read, without reading weights; called before anything loads.

        Raises what ``load`` would raise for files that are missing or broken, or for code that must not run.
        """
        return

    @abstractmethod
    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer, mask token included, without loading weights. Raises ``DataError`` with the remedy."""
        raise NotImplementedError

    def trusted_tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer in a run that allows code which comes with a model (``trust_remote_code: true``).

        The default is ``tokenizer``; override it where a tokenizer may bring code of its own.
        """
        return self.tokenizer(role)

    @abstractmethod
    def load(self, role: Role, runtime: Runtime) -> Denoiser:
        """Load or initialise the model. Raises ``CheckpointError`` naming the file or key that is wrong."""
        raise NotImplementedError

    def saved_at(self, path: str) -> Self:
        """Return the component that loads what this one's denoiser saved into the directory ``path``.

        The default sets the option ``model``; override it where other options say where weights come from. Raises
        ``ConfigError`` when the component has no such option.
        """
        if "model" not in type(self).model_fields:
            raise ConfigError(
                f"architecture '{self.name}' has no option `model`, so it cannot load {path}; its class must override saved_at"
            )
        return self.model_copy(update={"model": path})

    def attention_needs(self) -> frozenset[str]:
        """Return the layout kinds that this component's denoiser asks its backend for, known before anything loads."""
        return frozenset()

    def plan(self) -> dict[str, Any]:
        """Return what ``tide plan`` needs, without loading weights; empty when unknown.

        Keys: ``parameters`` (count), ``trainable_parameters``, ``hidden_size``, ``layers``, ``vocabulary``, and
        ``positions``, the longest row that the model was made for, where there is such a limit.
        """
        return {}

    def describe(self) -> dict[str, Any]:
        """Return what ``tide inspect`` prints, without loading weights; empty when there is nothing to add.

        Plain values by name, in groups by heading: ``{"model": {"family": "llama"}, "size": {"layers": 12}}``. Three names have
        a meaning to the core: ``size.parameters`` (a count; memory follows from it), and, for ``tide convert``,
        ``denoising.shift`` (the shift that the weights have learnt) and ``weights.dtype`` (torch's name of the dtype that they
        are stored in).
        """
        return {}
