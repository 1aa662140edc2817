"""One small component of every kind: enough to write run files against, without the bundled plugins."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

import tide_specs
from tide_specs import hookimpl


class ToyModel(tide_specs.Architecture):
    """A model of any size that never loads."""

    name: Literal["toy_model"] = "toy_model"
    model: str = Field("nowhere", description="a folder")
    form: Literal["bidirectional", "block_diffusion", "autoregressive"] = Field("bidirectional", description="form")
    block_size: int = Field(1, description="tokens of a block")
    parameters: int = Field(1_000_000, description="how large it pretends to be")
    only: Literal["teacher", "student", "both"] = Field("both", description="roles it serves")

    def serves(self, role: tide_specs.Role) -> str | None:
        return None if self.only in (role, "both") else f"it serves only as {self.only}"

    @property
    def denoiser_form(self) -> tide_specs.Form:
        return self.form

    @property
    def length_multiple(self) -> int:
        return self.block_size

    def attention_needs(self) -> frozenset[str]:
        return frozenset({"block_diffusion" if self.form == "block_diffusion" else "full"})

    def tokenizer(self, role: tide_specs.Role) -> Any:
        raise NotImplementedError

    def load(self, role: tide_specs.Role, runtime: tide_specs.Runtime) -> Any:
        raise NotImplementedError

    def plan(self) -> dict[str, Any]:
        size = {"parameters": self.parameters, "trainable_parameters": self.parameters}
        return {**size, "hidden_size": 256, "layers": 6, "vocabulary": 1000}


class ToyAttention(tide_specs.AttentionBackend):
    """Serves every layout."""

    name: Literal["sdpa"] = "sdpa"

    def attend(self, query: Any, key: Any, value: Any, layout: Any, options: Any) -> Any:
        raise NotImplementedError


class FullOnly(ToyAttention):
    """Serves full attention only, and needs a module that does not exist."""

    name: Literal["full_only"] = "full_only"
    layouts: ClassVar[frozenset[str]] = frozenset({"full"})
    requires: ClassVar[tuple[str, ...]] = ("no_such_module",)


class Raises(ToyAttention):
    """Raises when it is asked whether it is available."""

    name: Literal["raises"] = "raises"

    def available(self, device: Any, dtype: Any) -> str | None:
        raise RuntimeError("no driver")


class Chunks(tide_specs.Alignment):
    """Yields chunks."""

    name: Literal["byte_chunks"] = "byte_chunks"

    def align(self, student: Any, teacher: Any) -> Any:
        raise NotImplementedError


class Tokens(Chunks):
    """Yields tokens as well."""

    name: Literal["shared_vocabulary"] = "shared_vocabulary"
    yields: ClassVar[frozenset[tide_specs.Port]] = frozenset({"tokens", "chunks"})


class Linear(tide_specs.NoiseSchedule):
    """alpha(t) = 1 - t."""

    name: Literal["linear"] = "linear"

    def alpha(self, t: Any) -> Any:
        return 1 - t

    def alpha_prime(self, t: Any) -> Any:
        return -1


class Absorbing(tide_specs.Corruption):
    """Masks."""

    name: Literal["absorbing"] = "absorbing"

    def corrupt(self, *args: Any) -> Any:
        raise NotImplementedError


class DualAxis(tide_specs.Interpolation):
    """Both axes."""

    name: Literal["dual_axis"] = "dual_axis"

    def weight(self, progress: float, t: Any) -> Any:
        return progress


class Constant(tide_specs.TeacherWeighting):
    """The same for every chunk."""

    name: Literal["constant"] = "constant"

    def factor(self, at: Any) -> Any:
        return at.t * 0 + 1


class Plain(tide_specs.TeacherView):
    """One pass."""

    name: Literal["plain"] = "plain"

    def passes(self, side: Any, masked: Any, draws: Any) -> Any:
        return [tide_specs.TeacherPass(masked=masked, counts=masked)]


class CrossEntropy(tide_specs.SelfLoss):
    """The student alone."""

    name: Literal["cross_entropy"] = "cross_entropy"

    def per_token(self, student: Any, at: Any) -> Any:
        raise NotImplementedError


class ForwardKl(tide_specs.TokenLoss):
    """Token by token."""

    name: Literal["forward_kl"] = "forward_kl"
    temperature: PositiveFloat = Field(1.0, description="divides logits")

    def per_token(self, student: Any, teacher: Any, at: Any) -> Any:
        raise NotImplementedError


class ReverseCalm(tide_specs.ChunkLoss):
    """Span by span."""

    name: Literal["reverse_calm"] = "reverse_calm"
    direction: ClassVar[tide_specs.Direction | None] = "reverse"
    temperature: PositiveFloat = Field(2.0, description="divides log-likelihoods")

    def per_chunk(self, student: Any, teacher: Any, at: Any) -> Any:
        raise NotImplementedError


class Objector(ReverseCalm):
    """Objects to every mix."""

    name: Literal["objector"] = "objector"
    deprecated: ClassVar[str | None] = "2.0; use reverse_calm"
    limit: int | None = Field(None, ge=1, description="a number, or nothing")

    def conflicts(self, mix: tide_specs.Mix) -> Any:
        yield f"I never work with {mix.of('alignment')[0].name}"


class ToyData(tide_specs.Dataset):
    """No examples."""

    name: Literal["toy_data"] = "toy_data"
    path: str = Field("nothing.txt", description="a file")

    def examples(self, split: Any) -> Any:
        return iter(())

    def fingerprint(self) -> str:
        return "none"


class Divergence(tide_specs.Evaluator):
    """Needs a teacher."""

    name: Literal["divergence"] = "divergence"
    needs_teacher: ClassVar[bool] = True

    def evaluate(self, student: Any, teacher: Any, context: Any) -> Any:
        raise NotImplementedError


class ToySampler(tide_specs.Sampler):
    """Writes nothing."""

    name: Literal["toy_sampler"] = "toy_sampler"

    def sample(self, denoiser: Any, prompts: Any, *, max_new_tokens: int, seed: int = 0, watch: Any = None) -> Any:
        raise NotImplementedError


class Progress(tide_specs.Observer):
    """Looks on."""

    name: Literal["progress"] = "progress"

    def open(self, directory: str) -> object:
        return object()


class Tracker(Progress):
    """Looks on as well."""

    name: Literal["mlflow"] = "mlflow"
    experiment: str = Field("tide", description="a name")


@hookimpl
def tide_architectures() -> list[type]:
    return [ToyModel]


@hookimpl
def tide_attention_backends() -> list[type]:
    return [ToyAttention, FullOnly, Raises]


@hookimpl
def tide_alignments() -> list[type]:
    return [Chunks, Tokens]


@hookimpl
def tide_noise_schedules() -> list[type]:
    return [Linear]


@hookimpl
def tide_corruptions() -> list[type]:
    return [Absorbing]


@hookimpl
def tide_interpolations() -> list[type]:
    return [DualAxis]


@hookimpl
def tide_teacher_weightings() -> list[type]:
    return [Constant]


@hookimpl
def tide_teacher_views() -> list[type]:
    return [Plain]


@hookimpl
def tide_losses() -> list[type]:
    return [CrossEntropy, ForwardKl, ReverseCalm, Objector]


@hookimpl
def tide_datasets() -> list[type]:
    return [ToyData]


@hookimpl
def tide_evaluators() -> list[type]:
    return [Divergence]


@hookimpl
def tide_samplers() -> list[type]:
    return [ToySampler]


@hookimpl
def tide_observers() -> list[type]:
    return [Progress, Tracker]
