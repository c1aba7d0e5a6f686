"""The model to fine-tune: pinned, fetched as safetensors, and loaded without running code of its own."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from huggingface_hub import HfApi, is_offline_mode, snapshot_download

from sot_filter.errors import ModelError
from sot_filter.hub_models import model_errors

_WEIGHTS: Final = "*.safetensors"
_WANTED: Final = ["*.json", "*.model", "*.txt", "*.jinja"]
_UNWANTED: Final = ["*/*.safetensors", "onnx/*", "openvino/*", "original/*", "consolidated*"]
_SHA: Final = re.compile(r"[0-9a-f]{40}")
_SAFE: Final[dict[str, Any]] = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model on this machine.

    Attributes:
        name: as the recipe has it.
        folder: where its files lie.
        revision: the commit sha of a Hub model.
        digest: SHA-256 over the names and contents of a local model's files; None for a Hub model.
    """

    name: str
    folder: Path
    revision: str | None
    digest: str | None


def resolve_model(name: str, revision: str | None = None) -> str | None:
    """The commit sha of a Hub model's branch, tag or commit; None for a folder, whose content counts.

    Raises:
        ModelError: neither a folder nor a Hub model, or a revision of a folder.
        HubError: the Hub did not answer.
    """
    if Path(name).expanduser().is_dir():
        if revision is not None:
            raise ModelError("no revision for a model in a folder", repr(revision), "Remove model.revision.")
        return None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise ModelError("a folder or a Hub id as org/model", repr(name), "Correct the model's name.")
    if revision is not None and _SHA.fullmatch(revision):
        return revision
    with model_errors(name):
        if is_offline_mode():
            return Path(snapshot_download(name, revision=revision, local_files_only=True)).name
        return str(HfApi().model_info(name, revision=revision).sha)


def fetch_model(name: str, revision: str | None = None, weights: bool = True) -> Fetched:
    """Bring a model to this machine.

    Args:
        name: Hub id or folder.
        revision: the commit sha of a Hub model.
        weights: whether its weights are needed, or configuration and tokenizer only.

    Raises:
        ModelError: there is no such model, or it has no safetensors.
        HubError: the Hub did not answer.
    """
    folder, local = Path(name).expanduser(), True
    if not folder.is_dir():
        local, wanted = False, [*_WANTED, _WEIGHTS] if weights else _WANTED
        with model_errors(name):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=_UNWANTED))
    if not (folder / "config.json").is_file():
        raise ModelError("a model with config.json", f"none in {folder}", "Name a model that save_pretrained wrote.")
    if weights and not any(folder.glob(_WEIGHTS)):
        raise ModelError(
            f"{name} with weights as {_WEIGHTS}, and safetensors only",
            "none among its files",
            "Choose a revision that has them, or save the model again with save_pretrained.",
        )
    return Fetched(name, folder, revision, _digest(folder) if local and weights else None)


def load_tokenizer(folder: Path) -> Any:
    """A model's tokenizer, padding token included. Raises `ModelError` where it cannot be loaded."""
    with _loading(folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_SAFE)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, dtype: torch.dtype) -> Any:
    """A causal language model with all of its weights. Raises `ModelError` where it cannot be loaded or lacks some."""
    with _loading(folder):
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_SAFE
        )
        model, loading = loaded
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(f"all weights of {folder}", f"none for {', '.join(missing[:3])}", "Choose a complete model.")
    return model


def load_outline(folder: Path) -> Any:
    """The model without any weights in memory, for its modules' names and shapes. Raises `ModelError`."""
    with _loading(folder):
        config = transformers.AutoConfig.from_pretrained(folder, **_SAFE)
        with torch.device("meta"):
            return transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def _digest(folder: Path) -> str:
    """SHA-256 over the names and SHA-256s of the files a model is loaded from."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in (*_WANTED, _WEIGHTS) for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged weights, missing files, unknown architectures: each library raises its own
        raise ModelError(
            f"a causal language model in {folder} that transformers can load without code of its own",
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            "Repair the model's files, update transformers, or choose another model.",
        ) from error
