"""What a training file may say. Frozen pydantic models; the sentence under a field is its documentation everywhere."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
#: What NumPy takes, and with it the trainer.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Model(BaseModel):
    """Base of the models here: frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )


class Pretrained(Model):
    """A model by name and revision."""

    model: str
    """Hub id or local folder."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; resolved to a commit sha once."""


class Rows(Model):
    """Rows of conversations: a Hub dataset, or files."""

    dataset: str | None = None
    """Hub dataset id, as `org/name`; give this or `files`."""
    config: str | None = None
    """Configuration (subset) of the Hub dataset; needed only where it has several."""
    revision: str | None = None
    """Branch, tag or commit of the Hub dataset; resolved to a commit sha once."""
    split: str = "train"
    """Split to read."""
    files: str | tuple[str, ...] | None = None
    """The output folder of a run, or paths and globs of Parquet, JSONL, JSON or CSV."""
    format: Literal["auto", "messages", "prompt_completion", "alpaca", "sharegpt", "text"] = "auto"
    """Shape of a row; `auto` goes by the column names."""
    columns: dict[str, str] = {}
    """Your column for a field of the format, as `{prompt: question, completion: answer}`."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.dataset is None) == (self.files is None):
            got = "neither" if self.files is None else "both"
            raise ValueError(f"either `dataset` (a Hub id) or `files` (local paths); got {got}")
        return self


class WeightedRows(Rows):
    """The rows to train on."""

    weight: str | None = "sot_weight"
    """Column that multiplies a row's loss; rows of weight zero are left out. null trains on all rows alike."""
    keep: str | None = None
    """Column that says whether a row is used at all, as `sot_keep`; with `weight: null` this is Top-K alone."""


class Lora(Model):
    """Low-rank adaptation; `lora: null` trains all weights."""

    rank: Count = 8
    """Rank of the two factors."""
    alpha: Positive = 16
    """Scale of the update, divided by the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapters' inputs that are zeroed in training."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the modules that get an adapter, as `[q_proj, v_proj]`; `all-linear` is all but the head."""


class Plain(Model):
    """Weighted supervised fine-tuning, nothing else."""

    kind: Literal["plain"] = "plain"
    """`plain`: weighted supervised fine-tuning."""


class Spf(Model):
    """Safety-preserving fine-tuning (arXiv 2601.10141): gradients that would undo safety lose that component."""

    kind: Literal["spf"]
    """`spf`: gradient projection away from the safety gradient."""
    safety: Rows
    """A few rows of a harmful prompt and a refusal; one is enough."""
    rank: Count = 8
    """Rank of the basis of safety gradients, for each weight matrix."""
    refresh: Count = 10
    """Optimiser steps after which the basis is computed anew."""
    strength: Fraction = 1.0
    """Share of a conflicting component that is removed; 0 is `plain`."""


class Asft(Model):
    """AsFT (arXiv 2506.08473): a penalty on updates orthogonal to the direction of alignment."""

    kind: Literal["asft"]
    """`asft`: penalty on updates that leave the direction from the base to the aligned model."""
    base: Pretrained
    """The model before it was aligned; `model` is the aligned one."""
    strength: NotNegative = 0.25
    """Weight of the penalty; 0 is `plain`. With LoRA's default scaling, 2, the authors' λ = 1 is 0.25."""
    projector: Literal["published", "idempotent"] = "published"
    """`published`: VVᵀ/‖V‖ as in the authors' code; `idempotent`: V(VᵀV)⁺Vᵀ, a projector."""
    rank: Count = 32
    """Directions that the idempotent projector keeps; fewer than the outputs of any adapted module."""


Method = Annotated[Plain | Spf | Asft, Field(discriminator="kind")]


class Optimiser(Model):
    """Steps and their size."""

    learning_rate: Positive = 2e-4
    """Peak learning rate of AdamW."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: Fraction = 0.03
    """Share of all steps in which the learning rate rises."""
    epochs: Positive = 1.0
    """Passes over the rows."""
    max_steps: Count | None = None
    """Optimiser steps at most, whatever the epochs."""
    batch_rows: Count = 16
    """Rows of an optimiser step, over all devices."""
    device_rows: Count = 4
    """Rows of a forward pass on one device; the one knob for memory."""
    clip: NotNegative = 1.0
    """Largest norm of a step's gradient, after a projection; 0 clips nothing."""


class Evaluation(Model):
    """Utility while training: the loss on rows that are not trained on."""

    rows: Rows
    """Rows to evaluate on, unweighted."""
    every: Count | None = None
    """Optimiser steps between evaluations; by default at the start and the end of each epoch."""


class Probe(Model):
    """Safety while training: whether safe answers stay more likely than unsafe ones."""

    file: str
    """JSONL of `prompt`, `safe` and `unsafe`."""
    every: Count | None = None
    """Optimiser steps between looks; by default at the start and the end of each epoch."""
    stop_below: Fraction | None = None
    """Stop once the share of triples whose safe answer is preferred falls by more than this from the start."""


class Recipe(Model):
    """A training file: an aligned model, weighted rows, a method, and where the adapter goes."""

    version: Literal[1] = 1
    """Version of this file format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run: letters, digits, dots, dashes; names the default folder."""
    seed: Seed = 0
    """Seed of everything that draws."""
    model: Pretrained
    """The aligned chat model to fine-tune."""
    rows: WeightedRows
    """The weighted rows."""
    loss: Literal["sample_mean", "token"] = "sample_mean"
    """`sample_mean`: Σ wᵢLᵢ/Σ wᵢ over rows (the paper's); `token`: every token alike, times its row's weight."""
    max_length: Count = 1024
    """Tokens of a row at most; what is cut off is counted and reported."""
    completion_only: bool = True
    """Whether only assistants' turns are learned, not prompts."""
    method: Method = Plain()
    """`{kind: plain}`, `{kind: spf, ...}` or `{kind: asft, ...}`."""
    lora: Lora | None = Lora()
    """Adapters; null trains all weights."""
    optimiser: Optimiser = Optimiser()
    """Steps and their size."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic; `auto` is bfloat16 on a GPU that has it, float32 elsewhere."""
    checkpoints: Count | None = None
    """Optimiser steps between checkpoints; by default one at the end of each epoch. The last two are kept."""
    evaluation: Evaluation | None = None
    """Utility while training."""
    probe: Probe | None = None
    """Safety while training."""
    output: str | None = None
    """Folder for adapter, card, curves and run.json; by default `out/<name>`."""

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        if self.optimiser.batch_rows % self.optimiser.device_rows:
            raise ValueError(
                f"optimiser.batch_rows a multiple of optimiser.device_rows; got {self.optimiser.batch_rows} "
                f"and {self.optimiser.device_rows}"
            )
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The method's own options, without its name."""
        return self.method.model_dump(exclude={"kind"})
