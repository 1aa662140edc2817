"""The contract between TIDE and its plugins. Everything public is in ``__all__``; importing it does not import torch."""

from .alignment import Alignment, Port
from .architecture import Architecture
from .attention import AttentionBackend, AttentionOptions
from .batch import Batch, Draws, Noise, NoisedSide, Side, TeacherPass
from .bridge import Outcomes, VocabularyBridge
from .byte_tokenizer import ByteTokenizer
from .chunking import common_boundaries, cut_at
from .component import Component, Mix
from .corruption import Corruption
from .dataset import Dataset, Split
from .denoiser import DecodingSession, Denoiser, Form, Head, Role, Runtime
from .errors import (
    AlignmentError,
    CheckpointError,
    ConfigError,
    DataError,
    PluginError,
    TideError,
    TrainingError,
    UnavailableError,
)
from .evaluator import Estimate, Evaluation, EvaluationContext, Evaluator
from .events import CheckpointSaved, EvaluationFinished, MetricsLogged, RunFinished, RunStarted, RunStatus, StepFinished
from .held import HeldComponent
from .hooks import COMPONENT_HOOKS, CONTRACT_VERSION, PROJECT, ComponentHooks, LifecycleHooks, hookimpl, hookspec
from .interpolation import Interpolation
from .launcher import Job, Launcher, LaunchSession, RunningJob
from .layout import AttentionLayout, BlockCausal, BlockDiffusion, Cached, Causal, Full
from .loss import (
    ChunkContext,
    ChunkLoss,
    Compares,
    Denominator,
    Direction,
    DistributionLoss,
    FeatureContext,
    FeatureLoss,
    Loss,
    Resolution,
    SelfLoss,
    StartContext,
    TokenContext,
    TokenLoss,
)
from .module_architecture import ModuleArchitecture
from .module_denoiser import ModuleDenoiser
from .observer import Observer
from .recipe import Recipe, Stage
from .sampler import Sampled, Sampler, SamplingStep, Watch
from .schedule import NoiseSchedule
from .teacher_view import SequentialTeacherView, TeacherView
from .text import AlignedPair, ChunkRelation, EncodedExample, Example, Message, SharedColumns, TextTokenizer, TokenKind
from .weighting import TeacherWeighting, WeightingContext

__all__ = [
    "COMPONENT_HOOKS",
    "CONTRACT_VERSION",
    "PROJECT",
    "AlignedPair",
    "Alignment",
    "AlignmentError",
    "Architecture",
    "AttentionBackend",
    "AttentionLayout",
    "AttentionOptions",
    "Batch",
    "BlockCausal",
    "BlockDiffusion",
    "ByteTokenizer",
    "Cached",
    "Causal",
    "CheckpointError",
    "CheckpointSaved",
    "ChunkContext",
    "ChunkLoss",
    "ChunkRelation",
    "Compares",
    "Component",
    "ComponentHooks",
    "ConfigError",
    "Corruption",
    "DataError",
    "Dataset",
    "DecodingSession",
    "Denoiser",
    "Denominator",
    "Direction",
    "DistributionLoss",
    "Draws",
    "EncodedExample",
    "Estimate",
    "Evaluation",
    "EvaluationContext",
    "EvaluationFinished",
    "Evaluator",
    "Example",
    "FeatureContext",
    "FeatureLoss",
    "Form",
    "Full",
    "Head",
    "HeldComponent",
    "Interpolation",
    "Job",
    "LaunchSession",
    "Launcher",
    "LifecycleHooks",
    "Loss",
    "Message",
    "MetricsLogged",
    "Mix",
    "ModuleArchitecture",
    "ModuleDenoiser",
    "Noise",
    "NoiseSchedule",
    "NoisedSide",
    "Observer",
    "Outcomes",
    "PluginError",
    "Port",
    "Recipe",
    "Resolution",
    "Role",
    "RunFinished",
    "RunStarted",
    "RunStatus",
    "RunningJob",
    "Runtime",
    "Sampled",
    "Sampler",
    "SamplingStep",
    "SelfLoss",
    "SequentialTeacherView",
    "SharedColumns",
    "Side",
    "Split",
    "Stage",
    "StartContext",
    "StepFinished",
    "TeacherPass",
    "TeacherView",
    "TeacherWeighting",
    "TextTokenizer",
    "TideError",
    "TokenContext",
    "TokenKind",
    "TokenLoss",
    "TrainingError",
    "UnavailableError",
    "VocabularyBridge",
    "Watch",
    "WeightingContext",
    "common_boundaries",
    "cut_at",
    "hookimpl",
    "hookspec",
]
