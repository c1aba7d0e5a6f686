"""Pull requests: as what was asked for, and as the place where many files gather before one commit takes them over.

A pull request is a draft while files come in, which the Hub lets nobody merge; then it is opened at once with all of
them. Its title carries the run's key, so that a push that was killed is found by the next one. The Hub merges a pull
request as one commit, or not at all: Git itself refuses if somebody has changed one of its files meanwhile.
"""

from typing import TYPE_CHECKING, Final

from sot_filter.hub.outgoing import Outgoing
from sot_filter.hub.pieces import batches
from sot_filter.hub.preflight import check_source
from sot_filter.hub.problems import HeadMovedError
from sot_filter.hub.session import CARD, KIND, MAIN, changed_paths, head_of
from sot_filter.hub.target import Published

if TYPE_CHECKING:
    from huggingface_hub import Discussion

#: Characters that the Hub allows a title.
_TITLE: Final = 200


def propose(push: Outgoing, main: str) -> Published:
    """Open a pull request with the output, or find the one that is open; ``main`` is the commit that main is at.

    Raises:
        HubError: the dataset has changed since its rows were read.
        HfHubHTTPError: as the Hub's clients do.
    """
    mark = f"(sot-filter {push.key[:8]})"
    found = next((request for request in _requests(push) if request.title.endswith(mark)), None)
    if found is None and not push.lacking(main):
        return push.published(main)
    if found is None or found.status == "draft" or push.lacking(f"refs/pr/{found.num}"):
        check_source(push.api, push.target, main)
    if found is None:
        found = _draft(push, mark)
    ref = f"refs/pr/{found.num}"
    head = push.fill(ref, head_of(push.api, push.repo, ref))
    _open(push, found.num, found.status)
    return push.published(head, pull_request=found.url)


def merge_in(push: Outgoing, head: str) -> Published:
    """Bring many files to a branch at once, through a pull request of our own that is merged.

    Raises:
        HeadMovedError: somebody has committed meanwhile, to the branch or to that pull request.
        HfHubHTTPError: as the Hub's clients do.
    """
    api, repo, branch = push.api, push.repo, push.target.name
    ours = f"(sot-filter {push.key[:8]} on "
    mark = f"{ours}{head[:8]})"
    number, status = 0, "open"
    for request in _requests(push):
        if request.title.endswith(mark):
            number, status = request.num, request.status
        elif ours in request.title:
            # What it was made on is no longer the head: its card would not fit.
            _close(push, request.num)
    if not number and branch == MAIN:
        draft = _draft(push, mark)
        number, status = draft.num, draft.status
    elif not number:
        # Drafts are for main only; one for another branch comes with its first files.
        lot = next(batches(push.lacking(head)))
        number = push.send(lot, branch, head, _titled(push, mark), create_pr=True).pr_num or 0
    ref = f"refs/pr/{number}"
    filled = push.fill(ref, head_of(api, repo, ref))
    strange = changed_paths(api, repo, head, filled) - {CARD, *(piece.path for piece in push.pieces)}
    if strange - {".gitattributes"}:
        _close(push, number)
        raise HeadMovedError
    _open(push, number, status)
    if head_of(api, repo, branch) != head:
        raise HeadMovedError
    api.merge_pull_request(repo, number, repo_type=KIND)
    return push.published(head_of(api, repo, branch), commits=1)


def _requests(push: Outgoing) -> "list[Discussion]":
    """Pull requests of this account that are neither closed nor merged."""
    requests = push.api.get_repo_discussions(push.repo, repo_type=KIND, discussion_type="pull_request")
    alive = [request for request in requests if request.status in ("draft", "open")]
    # Anyone may give a pull request any title.
    me = push.api.whoami(cache=True)["name"] if alive else None
    return [request for request in alive if request.author == me]


def _draft(push: Outgoing, mark: str) -> "Discussion":
    return push.api.create_pull_request(push.repo, _titled(push, mark), description=push.description, repo_type=KIND)


def _titled(push: Outgoing, mark: str) -> str:
    return f"{push.title[: _TITLE - len(mark) - 1]} {mark}"


def _open(push: Outgoing, number: int, status: str) -> None:
    if status == "draft":
        push.api.change_discussion_status(push.repo, number, "open", repo_type=KIND)


def _close(push: Outgoing, number: int) -> None:
    push.api.change_discussion_status(
        push.repo, number, "closed", repo_type=KIND, comment="sot-filter starts anew from the branch's new head."
    )
