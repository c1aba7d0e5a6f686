"""What a target has before the push: the commit that is committed onto, and its card."""

from sot_filter.errors import HubError
from sot_filter.hub.problems import at_hub
from sot_filter.hub.session import MAIN, card_at, client, refs_of
from sot_filter.hub.target import Target


def standing_commit(target: Target) -> str:
    """The commit that the output is put on: its branch's; of a branch to be made, that of the rows, or main's.

    Raises:
        HubError: there is no such repository, or the Hub does not answer.
    """
    refs = at_hub(f"the branches of the dataset {target.repo}", lambda: refs_of(client(), target.repo))
    if not refs or MAIN not in refs:
        raise HubError(f"the dataset {target.repo}, with a branch {MAIN}", "none", "Run again: it is made anew.")
    return refs.get(target.name) or target.source or refs[MAIN]


def standing_card(target: Target, commit: str) -> str | None:
    """The text of the card at a commit, or None where it has none. Raises `HubError` as `standing_commit` does."""
    return at_hub(f"the card of the dataset {target.repo}", lambda: card_at(client(), target.repo, commit))
