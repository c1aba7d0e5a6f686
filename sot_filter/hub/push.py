"""The push: everything enters the dataset at once, or nothing does.

Up to a hundred files are one commit, which names the commit that it expects to follow. More of them gather where no
user of the dataset sees them, since the Hub answers large commits too late, and enter at once at the end:

- an existing branch: a pull request of our own, which the Hub merges as one commit;
- a pull request that was asked for: a draft, which is opened when it is complete;
- a new branch: a branch of the run's own, at whose head the new one is made; also for one commit, so that a new
  branch never shows without the output.

Each attempt looks first what is there. So it does not matter where the one before ended, by what, or whether its
answer was lost: what is there is not sent again, and a push that is done is found done.
"""

from collections.abc import Callable, Mapping, Sequence

from sot_filter.errors import HubError
from sot_filter.hub.outgoing import Outgoing, outgoing_pieces
from sot_filter.hub.pieces import batches
from sot_filter.hub.preflight import check_rules, check_source
from sot_filter.hub.problems import asked, at_hub
from sot_filter.hub.proposals import merge_in, propose
from sot_filter.hub.session import KIND, MAIN, client, refs_of
from sot_filter.hub.target import Published, Target, Upload


def commit(
    target: Target,
    uploads: Sequence[tuple[Upload, str]],
    others: Mapping[str, bytes],
    card: Callable[[str | None], str],
    *,
    key: str,
    title: str,
    description: str,
) -> Published:
    """Publish the files of a run, or find them published.

    Args:
        target: where they go; its repository is there (`ensure_repository`).
        uploads: what `upload_file` gave for each file of the output, with the file's URL.
        others: small files by their path in the repository.
        card: the text of the card, from the text that the repository has or None. It is called anew for each head, and
            must give its own result back unchanged.
        key: names the run; the same one finds what an earlier attempt has left.
        title: first line of the commit, and of a pull request.
        description: the rest of the message.

    Raises:
        ConfigError: the target is none.
        HubError: the Hub refused or did not answer; or somebody has changed the same files. The target's branches are
            as they were.
        ArtifactError: a file is no longer the one that was uploaded.
    """
    check_rules(target)
    push = Outgoing(client(), target, outgoing_pieces(uploads, dict(others)), card, key, title, description)
    what = f"to commit the output to the dataset {target.repo}"
    return at_hub(what, lambda: _attempt(push), progress=lambda: push.furthest)


def _attempt(push: Outgoing) -> Published:
    target = push.target
    refs = refs_of(push.api, push.repo)
    if not refs or MAIN not in refs:
        raise HubError(f"the dataset {push.repo}, with a branch {MAIN}", "none", "Run again: it is made anew.")
    if target.create_pr:
        return propose(push, refs[MAIN])
    head = refs.get(target.name)
    if head is None:
        return _branch_off(push, refs)
    lacking = push.lacking(head)
    if not lacking:
        _tidy(push, refs)
        return push.published(head)
    check_source(push.api, target, head)
    push.check_others(head)
    if len(list(batches(lacking))) > 1:
        return merge_in(push, head)
    return push.published(push.send(lacking, target.name, head, push.title).oid)


def _branch_off(push: Outgoing, refs: dict[str, str]) -> Published:
    """Make the target's branch, with the output on it."""
    staging, start = _staging(push), push.target.source or refs[MAIN]
    if staging not in refs:
        push.api.create_branch(push.repo, branch=staging, revision=start, repo_type=KIND)
    published = push.published(push.fill(staging, refs.get(staging, start)))
    push.api.create_branch(push.repo, branch=push.target.name, revision=published.commit, repo_type=KIND)
    _tidy(push, {**refs, staging: published.commit})
    return published


def _tidy(push: Outgoing, refs: Mapping[str, str]) -> None:
    """Delete the branch on which files gathered. It is no harm if it stays."""
    if (staging := _staging(push)) in refs:
        try:
            push.api.delete_branch(push.repo, branch=staging, repo_type=KIND)
        except Exception as error:
            if asked(error) is not None:
                raise


def _staging(push: Outgoing) -> str:
    return f"sot-filter-{push.key[:8]}"
