"""What a pipeline file may say of who runs the stages. The sentence under a field is its documentation everywhere."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator

from sot_filter.config.base import Count, Model, Positive, Scalar

T = TypeVar("T")


def _time(value: Any) -> Any:
    """Refuses what Slurm would not read, and a number: YAML reads 12:00:00 without quotes as 43200, not as a time."""
    if not isinstance(value, str) or not re.fullmatch(r"(\d+-)?\d+(:\d\d){0,2}", value):
        raise ValueError(f'a time in quotes, as "12:00:00" or "2-00:00:00"; got {value!r}')
    return value


def _no_token(value: str) -> str:
    """A token would stand in clear text in the run's folder, in its log, and in the resolved pipeline file."""
    if re.search(r"\bhf_[A-Za-z0-9]{8,}|TOKEN=", value):
        raise ValueError("shell lines without a token, which a node gets from the environment; got one")
    return value


Duration = Annotated[str, BeforeValidator(_time)]
StageName = Literal[
    "embed",
    "sample",
    "cluster",
    "assign",
    "solve",
    "polish",
    "settle",
    "weigh",
    "select",
    "publish",
    "report",
    "upload",
    "commit",
]


class Local(Model):
    """This machine."""

    kind: Literal["local"] = "local"
    """`local`: this machine."""
    workers: Count = 1
    """Tasks at a time; each embedding task holds a model of its own."""

    def tasks_of(self, stage: str) -> int:
        """Into how many tasks a stage is cut, if it has as many parts."""
        return self.workers


class SlurmTask(Model):
    """What a stage asks of Slurm; what is not given is as for all stages."""

    tasks: Count | None = None
    """Tasks of a stage, at most one for each of its parts; may change between launches. By default 8."""
    partition: str | None = None
    """Partition; by default the cluster's own default."""
    account: str | None = None
    """Account that is charged, where the cluster wants one."""
    qos: str | None = None
    """Quality of service, where the cluster wants one."""
    time: Duration | None = None
    """Time limit of a task, quoted, as "08:00:00". At its end a task goes back into the queue and continues."""
    cpus: Count | None = None
    """CPU cores of a task; by default 1."""
    memory_gib: Positive | None = None
    """Memory of a task; by default the cluster's own default."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of a task; by default none."""
    sbatch: dict[str, Scalar] = {}
    """Further options of sbatch by their long names, as `{constraint: a100, exclusive: true}`."""


class Slurm(SlurmTask):
    """A Slurm cluster: one job array per stage, each waiting for the one before. `run` submits and returns."""

    kind: Literal["slurm"]
    """`slurm`: job arrays on a Slurm cluster."""
    workers: Count | None = None
    """Tasks of a stage that may run at the same time; by default as many as the cluster has room for."""
    max_array_size: Count | None = None
    """Tasks per job array; by default the cluster's own limit, which is asked for."""
    setup: Annotated[str, AfterValidator(_no_token)] = ""
    """Shell lines that activate the environment on a node; by default the Python that submits is used there too."""
    grace_seconds: Count = 120
    """How long before the end of its time a task is told to go back into the queue; what a part takes, or more."""
    stages: dict[StageName, SlurmTask] = {}
    """What single stages ask for instead, as `{embed: {gpus: 1, partition: gpu, time: "08:00:00"}}`."""

    def of(self, stage: str) -> SlurmTask:
        """What a stage asks for."""
        own = _own(self.stages, stage, SlurmTask())
        return SlurmTask(**{**_either(SlurmTask, own, self), "sbatch": {**self.sbatch, **own.sbatch}})

    def tasks_of(self, stage: str) -> int:
        """Into how many tasks a stage is cut, if it has as many parts."""
        return self.of(stage).tasks or 8


class RayTask(Model):
    """What a stage asks of Ray; what is not given is as for all stages."""

    tasks: Count | None = None
    """Tasks of a stage, at most one for each of its parts; may change between launches. By default 8."""
    cpus: Positive | None = None
    """CPU cores that a task reserves; by default 1."""
    gpus: Annotated[float, Field(ge=0)] | None = None
    """GPUs that a task reserves; less than one where tasks share it. By default none."""
    memory_gib: Positive | None = None
    """Memory that a task reserves; by default none, so that the cores alone say how many tasks fit a node."""


class Ray(RayTask):
    """A Ray cluster: every task runs where there is room. `run` waits for the end. Needs the extra `ray`."""

    kind: Literal["ray"]
    """`ray`: tasks on a Ray cluster."""
    address: str | None = None
    """Address of the cluster, as `10.0.0.1:6379`, or `auto` on one of its nodes; by default one of its own, here."""
    workers: Count | None = None
    """Tasks at a time; by default as many as the cluster has room for."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a task is started again after its process or its node died; it goes on after the last whole part."""
    wait_seconds: Annotated[int, Field(ge=0)] = 300
    """How long to wait for a node that has room for a task, as an autoscaler may bring one."""
    stages: dict[StageName, RayTask] = {}
    """What single stages ask for instead, as `{embed: {gpus: 1, cpus: 4, tasks: 32}}`."""

    def of(self, stage: str) -> RayTask:
        """What a stage asks for."""
        return RayTask(**_either(RayTask, _own(self.stages, stage, RayTask()), self))

    def tasks_of(self, stage: str) -> int:
        """Into how many tasks a stage is cut, if it has as many parts."""
        return self.of(stage).tasks or 8


class Job(Model):
    """What a stage asks of HF Jobs; what is not given is as for all stages."""

    tasks: Count | None = None
    """Jobs of a stage, at most one for each of its parts; may change between launches. By default 4."""
    flavor: str | None = None
    """Hardware of a job, as `hf jobs hardware` lists it; by default `cpu-basic`."""
    timeout: Annotated[str, Field(pattern=r"^\d+[smhd]$")] | None = None
    """How long a job may take, as `30m` or `8h`; at its end it is stopped. By default what the Hub allows."""


class Jobs(Job):
    """HF Jobs: one job per task on the Hub's machines. `run` stays and follows them, one stage after the other."""

    kind: Literal["jobs"]
    """`jobs`: HF Jobs, which the Hub charges for."""
    workers: Count | None = None
    """Jobs at a time; by default all of a stage."""
    namespace: str | None = None
    """User or organisation that the jobs belong to, and are charged to; by default you."""
    image: str | None = None
    """Image of the jobs, with sot-filter in it unless `requirements` says otherwise; by default uv's own image."""
    requirements: tuple[str, ...] | None = None
    """What uv installs in a job; by default this version of sot-filter, and nothing where `image` is given."""
    env: dict[str, str] = {}
    """Environment variables of the jobs; they are stored in the clear."""
    secrets: tuple[str, ...] = ()
    """Names of variables of your environment that the jobs get as secrets, as `[AWS_SECRET_ACCESS_KEY]`."""
    attempts: Count = 1
    """How often the Hub may start a job that ends badly, the first time among them."""
    stages: dict[StageName, Job] = {}
    """What single stages ask for instead, as `{embed: {flavor: l4x1, tasks: 16, timeout: 8h}}`."""

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if "TOKEN" in name.upper() or value.startswith("hf_"):
                raise ValueError(f"no tokens, which belong under `secrets`, by name; got {name}")
        return env

    def of(self, stage: str) -> Job:
        """What a stage asks for."""
        return Job(**_either(Job, _own(self.stages, stage, Job()), self))

    def tasks_of(self, stage: str) -> int:
        """Into how many jobs a stage is cut, if it has as many parts."""
        return self.of(stage).tasks or 4


def _own(stages: Mapping[Any, T], stage: str, nothing: T) -> T:
    # Of the passes polish-1, polish-2 all ask for the same.
    return stages.get(stage.partition("-")[0], nothing)


def _either(asked: type[Model], own: Model, everyone: Model) -> dict[str, Any]:
    """The fields of ``asked`` as a stage has them, and as all stages have them where it says nothing."""
    values = {name: getattr(own, name) for name in asked.model_fields}
    return {name: getattr(everyone, name) if value is None else value for name, value in values.items()}


def _kind(value: Any) -> Any:
    return value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", None)


Executor = Annotated[
    Annotated[Local, Tag("local")]
    | Annotated[Slurm, Tag("slurm")]
    | Annotated[Ray, Tag("ray")]
    | Annotated[Jobs, Tag("jobs")],
    Discriminator(_kind),
]
