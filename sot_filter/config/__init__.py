"""The pipeline file: frozen models, every field with a sentence, and the reading of YAML into them."""

from sot_filter.config.executors import Executor, Job, Jobs, Local, Ray, RayTask, Slurm, SlurmTask
from sot_filter.config.files import dump_yaml, load_card, load_pipeline, load_settings
from sot_filter.config.models import (
    Auto,
    Cluster,
    CustomInput,
    Embed,
    Hub,
    Input,
    Output,
    Paper,
    Pipeline,
    ReferenceCard,
    References,
    Select,
    Solve,
)

__all__ = [
    "Auto",
    "Cluster",
    "CustomInput",
    "Embed",
    "Executor",
    "Hub",
    "Input",
    "Job",
    "Jobs",
    "Local",
    "Output",
    "Paper",
    "Pipeline",
    "Ray",
    "RayTask",
    "ReferenceCard",
    "References",
    "Select",
    "Slurm",
    "SlurmTask",
    "Solve",
    "dump_yaml",
    "load_card",
    "load_pipeline",
    "load_settings",
]
