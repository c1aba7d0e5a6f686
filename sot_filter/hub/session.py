"""The Hub's client, and what a repository has, as far as a push needs to know."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sot_filter.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

CARD: Final = "README.md"
MAIN: Final = "main"
KIND: Final = "dataset"
#: Seconds to connect, and of silence after which a connection counts as cut; the Hub itself gives up after 60.
_CONNECT: Final = 30.0
_SILENCE: Final = 300.0
#: Paths asked about at once; the Hub answers for 1,000 at most.
_PATHS: Final = 500


def client() -> "HfApi":
    """The Hub's client, with the environment's token.

    Raises:
        HubError: the Hub is switched off, or there is no token.
    """
    from huggingface_hub import HfApi, get_token, is_offline_mode

    if is_offline_mode():
        raise HubError(
            "to reach the Hub, for output.hub", "HF_HUB_OFFLINE is set", "Unset it, or leave out output.hub."
        )
    if get_token() is None:
        raise HubError(
            "a token that may write to the Hub, for output.hub",
            "none",
            "Set HF_TOKEN, or log in with `hf auth login`; tokens are made at https://huggingface.co/settings/tokens.",
        )
    return HfApi(library_name="sot-filter")


def bound_silence() -> None:
    """Wait for an answer of the Hub, but not for ever, as its clients do of themselves."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    # The session is another one after a connection has failed.
    get_session().timeout = httpx.Timeout(_SILENCE, connect=_CONNECT)


def refs_of(api: "HfApi", repo: str) -> dict[str, str] | None:
    """The commit that each branch is at, or None without a repository."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        refs = api.list_repo_refs(repo, repo_type=KIND)
    except RepositoryNotFoundError:
        return None
    return {branch.name: branch.target_commit for branch in refs.branches}


def head_of(api: "HfApi", repo: str, ref: str) -> str:
    """The commit that a branch or a pull request (``refs/pr/1``) is at."""
    sha = api.dataset_info(repo, revision=ref).sha
    if sha is None:
        raise HubError(f"the commit that {ref} of {repo} is at", "none", "Check that you may read the repository.")
    return sha


def files_at(api: "HfApi", repo: str, revision: str, paths: Iterable[str]) -> "dict[str, RepoFile]":
    """Those of the paths that are files at a revision."""
    from huggingface_hub.hf_api import RepoFile

    wanted, found = list(paths), {}
    for first in range(0, len(wanted), _PATHS):
        entries = api.get_paths_info(repo, wanted[first : first + _PATHS], repo_type=KIND, revision=revision)
        found.update({entry.path: entry for entry in entries if isinstance(entry, RepoFile)})
    return found


def card_at(api: "HfApi", repo: str, revision: str) -> str | None:
    """The text of a commit's card, or None where it has none. Raises `HubError` if it is no UTF-8."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(repo, CARD, repo_type=KIND, revision=revision, endpoint=api.endpoint)
    answer = get_session().get(url, headers=build_hf_headers(library_name="sot-filter"))
    try:
        hf_raise_for_status(answer)
    except RemoteEntryNotFoundError:
        return None
    try:
        return answer.content.decode()
    except UnicodeDecodeError:
        raise HubError(
            f"{CARD} of {repo} as UTF-8", "other bytes", "Save the card as UTF-8, then run again."
        ) from None


def changed_paths(api: "HfApi", repo: str, before: str, after: str) -> set[str]:
    """Paths of the files that differ between two commits."""
    if before == after:
        return set()
    trees = []
    for revision in (before, after):
        entries = api.list_repo_tree(repo, repo_type=KIND, revision=revision, recursive=True)
        trees.append({entry.path: blob for entry in entries if (blob := getattr(entry, "blob_id", None))})
    old, new = trees
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
