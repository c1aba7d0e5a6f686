"""Whether a target can be published to: asked before anything is spent, and without changing anything."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sot_filter.errors import ConfigError, HubError, SotFilterError
from sot_filter.hub.problems import at_hub, redacted
from sot_filter.hub.session import CARD, MAIN, changed_paths, client, refs_of
from sot_filter.hub.target import Target

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Somebody waits for the answer: seconds, not minutes.
_ATTEMPTS: Final = 4
#: Names of branches that Git and the Hub take; `refs/` is the Hub's own.
_BRANCH: Final = re.compile(r"(?!refs/)(?!.*(\.\.|//|/\.|@\{|\.lock(/|$)))[A-Za-z0-9_][\w./+-]*(?<![./])")
_WRITER: Final = "Use a token (HF_TOKEN) of an account that may write there, or another output.hub.repo."


@dataclass(frozen=True, slots=True)
class Standing:
    """A target as it is before the push.

    Attributes:
        exists: whether the repository is there.
        head: the commit that its branch is at, if it is there.
        words: what will happen, in one phrase.
    """

    exists: bool
    head: str | None
    words: str


def check_target(target: Target) -> Standing:
    """Look whether a target can be published to, and say what will happen.

    Raises:
        ConfigError: the target is none: a model's name, a branch's that Git does not take, or the input's own
            repository without a branch by name.
        HubError: no token, no right to write, or no answer; or the dataset's rows have changed since they were read.
    """
    check_rules(target)
    api = client()
    return at_hub(
        f"the dataset {target.repo} on the Hub, to publish to", lambda: _look(api, target), attempts=_ATTEMPTS
    )


def exposed(target: Target) -> str | None:
    """What to say where rows that not all may read go to a dataset that all may read; None where they do not.

    Raises:
        HubError: the Hub does not answer.
    """
    dataset = target.dataset
    if dataset is None or target.source:
        return None
    api = client()

    def look() -> str | None:
        if (kept := _closed(api, dataset)) is None:
            return None
        if target.private if refs_of(api, target.repo) is None else _closed(api, target.repo):
            return None
        return f"The rows of {dataset} are {kept}; in {target.repo} everybody can read them."

    return at_hub(f"who may read {dataset} and {target.repo}", look, attempts=_ATTEMPTS)


def check_rules(target: Target) -> None:
    """What can be said without the Hub. Raises `ConfigError`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # not to type checkers

    try:
        validate_repo_id(target.repo)
    except HFValidationError as error:
        raise ConfigError(
            "output.hub.repo to be the name of a dataset, as org/name", redacted(str(error)), "Correct it."
        ) from None
    if target.branch is not None and not _BRANCH.fullmatch(target.branch):
        raise ConfigError(
            "output.hub.branch to be the name of a branch", repr(target.branch), "Name it like `weights`."
        )
    if target.create_pr and target.name != MAIN:
        raise ConfigError(
            "either output.hub.branch or output.hub.create_pr",
            f"branch {target.branch} and create_pr",
            "Leave out one: a pull request is for main.",
        )
    if target.source and target.branch is None and not target.create_pr:
        raise ConfigError(
            f"output.hub to say by name what of the input's own dataset {target.repo} it changes",
            "no branch",
            "Set output.hub.branch (a new one leaves main alone), output.hub.create_pr, or another output.hub.repo.",
        )


def check_source(api: "HfApi", target: Target, head: str) -> None:
    """Where main of the input's own dataset is to be changed, its rows must be those that were weighed.

    Raises:
        HubError: they have changed since.
    """
    if not target.source or target.name != MAIN:
        return
    paths = sorted(path for path in changed_paths(api, target.repo, target.source, head) if _holds_rows(path))
    if paths:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        raise HubError(
            f"the rows of {target.repo} at main as they were weighed, at {target.source}",
            f"{head}, with another {paths[0]}{more}",
            "Weigh the new revision (input.revision), or set output.hub.branch to a new branch, "
            "which starts at the commit that was weighed.",
        )


def _holds_rows(path: str) -> bool:
    """Whether a file may hold rows of the dataset; what an earlier run left under ``sot/`` does not."""
    return path not in (CARD, ".gitattributes", ".gitignore") and not path.startswith("sot/")


def _look(api: "HfApi", target: Target) -> Standing:
    refs = refs_of(api, target.repo)
    if refs is None:
        _check_missing(api, target)
        words = f"makes the {'private' if target.private else 'public'} dataset {target.repo}"
        return Standing(False, None, words + (f" and its branch {target.name}" if target.name != MAIN else ""))
    if not target.create_pr:
        _check_writer(api, target)
    head = refs.get(target.name)
    check_source(api, target, refs.get(MAIN, ""))
    if target.create_pr:
        return Standing(True, head, f"opens a pull request on {target.repo}")
    start = target.source or refs.get(MAIN, "")
    made = f", made from {start[:8]}" if head is None else ""
    return Standing(True, head, f"commits to {'branch ' * (target.name != MAIN)}{target.name} of {target.repo}{made}")


def _closed(api: "HfApi", repo: str) -> str | None:
    """Why not everybody may read a dataset, in a word; None for an open one."""
    info = api.dataset_info(repo)
    return "private" if info.private else "gated" if info.gated else None


def _check_missing(api: "HfApi", target: Target) -> None:
    """Whether a repository that is not there could be made. Raises `ConfigError` or `HubError`."""
    if api.repo_exists(target.repo, repo_type="model"):
        raise ConfigError(
            "output.hub.repo to be a dataset or a new name", f"the model {target.repo}", "Choose another name."
        )
    if target.create_pr:
        raise ConfigError(
            "a dataset for output.hub.create_pr to open a pull request on",
            f"no dataset {target.repo} that this token may see",
            "Leave out create_pr to make the dataset, or correct output.hub.repo.",
        )
    me = api.whoami(cache=True)
    namespace = target.repo.split("/")[0]
    if _role(me) == "read" or namespace not in _namespaces(me):
        raise _no_writer(target, f"the token of {me['name']}, which may not make datasets of {namespace}")


def _check_writer(api: "HfApi", target: Target) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.auth_check(target.repo, repo_type="dataset", write=True)
    except HfHubHTTPError as error:
        if error.response.status_code != 403:
            raise
    else:
        return
    raise _no_writer(target, f"the token of {api.whoami(cache=True)['name']}, which may not write there")


def _no_writer(target: Target, got: str) -> SotFilterError:
    return HubError(f"a token that may write to the dataset {target.repo}", got, _WRITER)


def _role(me: dict[str, Any]) -> str | None:
    role = me.get("auth", {}).get("accessToken", {}).get("role")
    return role if isinstance(role, str) else None


def _namespaces(me: dict[str, Any]) -> set[str]:
    """Names under which an account may make repositories."""
    return {me["name"], *(org["name"] for org in me.get("orgs", ()) if org.get("roleInOrg") != "read")}
