"""Files on their way to the Hub, from as many processes as there are: stored there, in no commit yet."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from sot_filter.artifacts.files import reached, reaching
from sot_filter.errors import ArtifactError
from sot_filter.hub.problems import at_hub
from sot_filter.hub.session import KIND, client, refs_of
from sot_filter.hub.target import Target, Upload

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi


def ensure_repository(target: Target) -> None:
    """Make the dataset repository if it is not there. Several processes may do so at once.

    Raises:
        HubError: the account may not make it, or the Hub does not answer.
    """
    api = client()

    def make() -> None:
        if refs_of(api, target.repo) is None:
            api.create_repo(target.repo, repo_type=KIND, private=target.private, exist_ok=True)

    at_hub(f"the dataset {target.repo} on the Hub, or to make it", make)


def upload_file(target: Target, path: str, url: str) -> Upload:
    """Bring a file to the Hub's large file storage, or note it for the commit where the Hub wants it in there.

    What the Hub has already, by its digest, is not sent again.

    Args:
        target: where it goes.
        path: its path in the repository.
        url: where it is, on any filesystem that fsspec reaches.

    Raises:
        HubError: the Hub refuses the file (rights, storage, size), or does not answer.
        ArtifactError: the file cannot be read.
    """
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # not to type checkers

    api = client()
    # Bars of many workers would write over each other, and over ours.
    disable_progress_bars()
    with local_copy(url) as file:

        def send() -> CommitOperationAdd:
            addition = CommitOperationAdd(path, file)
            store(api, target.repo, [addition], create_pr=target.create_pr)
            return addition

        addition = at_hub(f"{path} to be stored for the dataset {target.repo}", send)
        info, lfs = addition.upload_info, addition._upload_mode == "lfs"
        return Upload(path, info.size, info.sha256.hex(), lfs)


def store(
    api: "HfApi",
    repo: str,
    additions: "Sequence[CommitOperationAdd]",
    revision: str | None = None,
    *,
    create_pr: bool = False,
) -> None:
    """Ask the Hub for each file whether it is stored aside or travels in the commit, and bring it the former."""
    preupload = partial(
        api.preupload_lfs_files, repo, repo_type=KIND, revision=revision, create_pr=create_pr, free_memory=False
    )
    preupload(additions)
    # What a .gitignore of the repository names would vanish from upload and commit without a word.
    ignored = [addition for addition in additions if addition._should_ignore]
    for addition in ignored:
        addition._should_ignore = False
    preupload(ignored)


def read_noted(upload: Upload, url: str) -> bytes:
    """The bytes of a file that travels in the commit. Raises `ArtifactError` if they are others than were noted."""
    with local_copy(url) as file:
        content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != upload.sha256:
        raise changed(upload, url)
    return content


def changed(upload: Upload, url: str) -> ArtifactError:
    """The error that a file is no longer the one that was uploaded."""
    return ArtifactError(
        f"{url} as it was uploaded",
        f"other bytes than those of SHA-256 {upload.sha256[:12]}",
        "Delete the output folder, and let the run write and upload it anew.",
    )


@contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """A file on this machine with a URL's content: itself where it is here, else a copy for as long as it is needed.

    Raises:
        ArtifactError: the file is not there, or cannot be read.
    """
    fs, path = reached(url)
    if isinstance(fs, LocalFileSystem):
        if not Path(path).is_file():
            raise _missing(url)
        yield Path(path)
        return
    with tempfile.NamedTemporaryFile(prefix="sot-filter-") as copy:
        try:
            with reaching(fs, url), fs.open(path, "rb") as file:
                copyfileobj(file, copy)
        except FileNotFoundError:
            raise _missing(url) from None
        copy.flush()
        yield Path(copy.name)


def _missing(url: str) -> ArtifactError:
    return ArtifactError(f"the output file {url}", "nothing there", "Run again: what is missing is written anew.")
