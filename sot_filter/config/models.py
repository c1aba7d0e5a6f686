"""What a pipeline file may say. Frozen pydantic models; the sentence under a field is its documentation everywhere."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sot_filter.config.base import Count, Fraction, Model, Positive, Scalar
from sot_filter.config.executors import Executor, Local

#: Strength of a reference's marginal constraint: a number, `inf` for balanced, or `auto`.
Relaxation = Literal["auto"] | Annotated[float, Field(ge=0)]


class Input(Model):
    """Where rows come from and how they are read: a Hub dataset, or local files."""

    dataset: str | None = None
    """Hub dataset id, as `org/name`; give this or `files`."""
    config: str | None = None
    """Configuration (subset) of the Hub dataset; needed only where it has several."""
    revision: str | None = None
    """Branch, tag or commit of the Hub dataset; resolved to a commit sha once and used everywhere."""
    split: str = "train"
    """Split to read; local files are given this name."""
    files: str | tuple[str, ...] | None = None
    """Local path, folder, glob or fsspec URL, or a list of them: Parquet, JSONL (.gz, .zst), JSON, CSV, TSV, Arrow."""
    format: Literal["auto", "messages", "prompt_completion", "alpaca", "sharegpt", "text"] = "auto"
    """Shape of a row; `auto` goes by the column names."""
    columns: dict[str, str] = {}
    """Your column for a field of the format, as `{prompt: question, completion: answer}`; `system` and `tools` too."""
    digest: str | None = None
    """SHA-256 over what is read; where given, other rows are refused. The resolved file fills it in."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.dataset is None) == (self.files is None):
            got = "neither" if self.files is None else "both"
            raise ValueError(f"either `dataset` (a Hub id) or `files` (local paths); got {got}")
        return self


class ReferenceCard(Input):
    """A trusted safe, or a known harmful, set of rows: where it comes from, which rows, under what licence."""

    name: str = ""
    """Short name for tables and reports; the file's name where it is not given."""
    description: str = ""
    """What the rows are and what the reference is good for."""
    homepage: str = ""
    """Page that describes the source."""
    licence: str = ""
    """Licence of the rows, as the source states it."""
    where: dict[str, Scalar | tuple[Scalar, ...]] = {}
    """Rows to use: a column and the value, or values, that it must have; all entries must hold."""
    sample: Count | None = None
    """Use at most this many of the rows, chosen by a keyed hash of their ids, so stable as rows come and go."""
    seed: int = 0
    """Key of the sample's hash."""


class CustomInput(Input):
    """The fine-tuning rows."""

    label: dict[str, Scalar | tuple[Scalar, ...]] = {}
    """A column and the value, or values, that mark a row as known harmful; only ever counted in the summary."""
    slices: tuple[str, ...] = ()
    """Columns by whose values retention is counted too, beside file, language, length, format and code."""


class References(Model):
    """The two poles of the transport problem."""

    safe: str | ReferenceCard | tuple[str | ReferenceCard, ...]
    """Rows to be pulled to: a card's path, a data file, a card written in place, or a list of these."""
    harmful: str | ReferenceCard | tuple[str | ReferenceCard, ...]
    """Rows to be pushed away from, given in the same way."""


class Embed(Model):
    """The frozen model whose hidden states become a row's embedding."""

    model: str = "all-MiniLM-L6-v2"
    """Hub id, local folder, or `all-MiniLM-L6-v2`, from the extra `offline`. Best: the aligned model itself."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model; resolved to a commit sha once."""
    pooling: Literal["auto", "last_token", "mean", "cls"] = "auto"
    """How token states become one vector; `auto` is `last_token` for a decoder and `mean` for an encoder."""
    layer: int = -1
    """Which hidden state to take, counted as transformers does: 0 the input embeddings, -1 the last layer."""
    max_length: Count | None = None
    """Tokens per row at most; by default what the model allows, up to 1,024."""
    batch_tokens: Count = 16384
    """Padded tokens per forward pass; the one knob for the memory of the embed stage."""
    views: tuple[Literal["pair", "prompt", "response"], ...] = ("prompt", "response")
    """Texts that are embedded apart, since a refusal and a compliance share their prompt."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the model; `auto` is bfloat16 on a GPU and float32 elsewhere."""
    threads: Count | None = None
    """CPU threads of a task; by default torch's own choice."""

    @model_validator(mode="after")
    def _some_views(self) -> Self:
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"some of pair, prompt, response, each once; got {', '.join(self.views) or 'none'}")
        return self


class Cluster(Model):
    """Modes centroid and minibatch: which rows stand for all of them in the solve, and where neighbours are found."""

    sample: Count = 250_000
    """Distinct texts that the solve sees, about; all of them where there are fewer."""
    centroids: Count = 4096
    """Centroids at most; never more than one for 64 texts of the sample."""
    probes: Count = 64
    """Nearest centroids of a row among whose rows its neighbours are looked for; more find more of them."""
    polish: Annotated[int, Field(ge=0)] = 0
    """Passes over all rows that correct the potentials of the sample where a marginal is constrained (ρ > 0)."""


class Paper(Model):
    """Settings of `mode: paper`, the literal recipe: gradient steps on simplex weights through Sinkhorn."""

    parametrisation: Literal["softmax", "simplex"] = "softmax"
    """Weights as a softmax of logits, or projected onto the simplex after each step."""
    optimiser: Literal["adam", "sgd", "mirror"] = "adam"
    """Rule of a step; `mirror` multiplies the weights by exp(-learning_rate · gradient)."""
    steps: Count = 300
    """Number of gradient steps; early stopping is what keeps these weights spread."""
    learning_rate: Positive = 0.1
    """Length of a step."""
    inner_iterations: Count = 20
    """Sinkhorn iterations per step."""


class Minibatch(Model):
    """Settings of `mode: minibatch`; it differs from centroid where a marginal is constrained (ρ > 0)."""

    rows: Count = 1024
    """Rows of a batch; more rows, less bias."""
    batches: Count = 64
    """Batches whose potentials are averaged; more batches, less noise."""


class Online(Model):
    """Settings of `mode: online`; it differs from centroid where a marginal is constrained (ρ > 0)."""

    rows: Count = 64
    """Rows of a batch."""
    epochs: Count = 2
    """How often as many rows are looked at as there are in the sample; more epochs, less noise."""


class Solve(Model):
    """The push-pull optimal transport problem and how it is solved."""

    mode: Literal["auto", "coupled", "centroid", "minibatch", "online", "exact", "paper"] = "auto"
    """`coupled`; by a sample: `centroid`, `minibatch`, `online`; rows alone: `exact`, `paper`; `auto`: by size."""
    push_strength: Literal["auto"] | Fraction = "auto"
    """Balance λ: 0 only pulls to the safe reference, 1 only pushes from the harmful one; `auto`: chosen held out."""
    epsilon: Literal["auto"] | Positive = "auto"
    """Entropic strength in units of the cosine cost (0 to 2): how widely a row listens; `auto`: chosen held out."""
    tau: Literal["auto"] | Positive = "auto"
    """Strength of the entropy of the weights; small τ, sharp weights; `auto`: calibrated on held-out rows."""
    rho_safe: Relaxation = "auto"
    """How strictly the safe reference must be covered: 0 not at all, `inf` balanced; `auto`: chosen held out."""
    rho_harmful: Relaxation = "auto"
    """How strictly the harmful reference must be covered: 0 not at all, `inf` balanced; `auto`: chosen held out."""
    direction: bool = True
    """Mode coupled: add a direction, learned on the references, to the cost."""
    neighbours: Annotated[int, Field(ge=0)] = 8
    """Mode coupled: how many nearest rows share a row's fate, itself among them; 0 judges each row alone."""
    centre: bool = True
    """Subtract the midpoint of the two references' means from every view before the cosine."""
    view_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Share of each view in the cost; held-out rows choose where it is not given."""
    replicates: Literal[0] | Annotated[int, Field(ge=4)] = 16
    """Mode coupled: how many halves of the references, beside another seed, tell how stable each row is; 0: none."""
    threshold: Positive = 1e-6
    """Certificate at which the solve counts as converged."""
    max_iterations: Count = 500
    """Outer steps at most."""
    memory_gib: Positive = 2.0
    """Keep the kernel in memory up to this size; above it, tiles are recomputed, with the same result."""
    threads: Count | None = None
    """CPU threads of a task of cluster, assign, solve and weigh; by default torch's own choice."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """Where rows are clustered, solved and weighed: `auto` (a GPU where a worker has one), `cpu`, `cuda`, `cuda:1`."""
    minibatch: Minibatch = Minibatch()
    """Settings of `mode: minibatch`."""
    online: Online = Online()
    """Settings of `mode: online`."""
    paper: Paper = Paper()
    """Settings of `mode: paper`."""


def _or_auto(schema: dict[str, Any]) -> None:
    """Let editors know that `select: auto` will do."""
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"const": "auto"}]


class Auto(Model):
    """How many rows to drop is decided by the rows: as many as seem harmful, or as a goal asks for."""

    harmful_kept: Fraction | None = None
    """Drop so many that at most this share of held-out harmful reference rows would be kept; whatever the input."""
    safe_lost: Fraction | None = None
    """Drop at most so many that this share of held-out safe reference rows would be lost."""


class Select(Model):
    """Which rows to keep; one rule at a time, by default `retention: 0.8`. `select: auto` stands for `{auto: {}}`."""

    retention: Annotated[float, Field(gt=0, le=1)] | None = None
    """Keep this share of the rows that have a score, best first."""
    top_k: Count | None = None
    """Keep this many rows, best first; more where the last of them shares its text with others."""
    threshold: float | None = None
    """Keep rows whose score is at least this; in mode coupled 0 is a row as likely to be kept as not."""
    auto: Auto | None = None
    """Drop as many rows as the upper end of the estimated harmful share, and nothing where nothing looks harmful."""
    unknown: Literal["keep", "down_weight", "drop", "review"] = "keep"
    """Rows like neither reference: left to the cut; also with weight / 4; never kept; or listed in review.jsonl."""
    minimum_retention: dict[str, Fraction] = {}
    """Share to keep of every slice of 30 rows or more, as `{language: 0.5}`: its best rows, even below the cut."""

    @model_validator(mode="before")
    @classmethod
    def _one_rule(cls, data: Any) -> Any:
        if data == "auto":
            return {"auto": {}}
        if isinstance(data, dict):
            given = [key for key in ("retention", "top_k", "threshold", "auto") if data.get(key) is not None]
            if len(given) > 1:
                raise ValueError(f"one of retention, top_k, threshold, auto; got {' and '.join(given)}")
            if not given:
                return {**data, "retention": 0.8}
        return data


class Hub(Model):
    """A Hub dataset repository to publish to, in one commit."""

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """Dataset repository, as `org/name`; made if it is not there. The input's own is never changed on main unasked."""
    branch: str | None = None
    """Branch to commit to, made if it is not there; by default main, which the input's own repository must name."""
    create_pr: bool = False
    """Open a pull request instead of committing."""
    private: bool = True
    """Whether a new repository is private."""


class Output(Model):
    """Where the weighted dataset goes."""

    folder: str | None = None
    """Folder for the dataset with its new columns, the summary and the picture."""
    mode: Literal["columns", "sidecar"] = "columns"
    """`columns`: your files again, with the new columns; `sidecar`: row ids and new columns alone."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*_$")] = "sot_"
    """How the names of the new columns begin; another one where the input has columns of these names already."""
    hub: Hub | None = None
    """Hub repository to publish the folder to."""


class Pipeline(Model):
    """A pipeline file: rows in, two references, a model, a solve, a selection, rows out."""

    version: Literal[1] = 1
    """Version of this file format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run: letters, digits, dots, dashes; names the default folders."""
    seed: int = 0
    """Seed of everything that draws."""
    input: CustomInput
    """The fine-tuning rows to weigh."""
    references: References
    """The safe and the harmful reference."""
    embed: Embed = Embed()
    """How rows become embeddings."""
    cluster: Cluster = Cluster()
    """How rows are quantised before the solve, in centroid mode."""
    solve: Solve = Solve()
    """The transport problem."""
    select: Select = Field(Select(retention=0.8), json_schema_extra=_or_auto)
    """Which rows to keep."""
    output: Output = Output()
    """Where the result goes; by default `out/<name>`."""
    work_dir: str | None = None
    """Folder or URL for what stages hand to each other, shared by all workers; by default `runs/<name>`."""
    executor: Executor = Local()
    """What runs the stages; by default this machine."""
    profiles: dict[str, Executor] = {}
    """Other executors by name; `--profile NAME` takes one of them instead of `executor`."""
