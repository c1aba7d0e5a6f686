"""Whether a run's output can go where it is to go on the Hub: found before anything is spent on it."""

from typing import NamedTuple

from sot_filter.artifacts import finished
from sot_filter.hub import check_target, exposed, standing_card, standing_commit
from sot_filter.plan import Plan
from sot_filter.report.card import configuration
from sot_filter.report.card_merge import merge_card, outline
from sot_filter.report.standing import standing_files
from sot_filter.rows import published_name


class Publishing(NamedTuple):
    """What will happen on the Hub.

    Attributes:
        words: in one phrase.
        warning: what may not be meant, or None.
    """

    words: str
    warning: str | None


def check_publishing(plan: Plan) -> Publishing | None:
    """Look at the target as the last stage will find it.

    Returns:
        What will happen there; None where nothing will, as nothing is asked for or all is done.

    Raises:
        ConfigError: no repository that the rows may be written to, as things are set.
        HubError: no token, no right to write, no answer; or a card that ours cannot be merged with.
    """
    target = plan.target
    if target is None or finished([plan.layout.committed], plan.keys["commit"]):
        return None
    standing = check_target(target)
    if standing.exists:
        source, mode = plan.sources["input"], plan.config.output.mode
        ours = outline(
            configuration(source.config, mode), source.split, [published_name(f.name, mode) for f in source.files]
        )
        start = standing_commit(target)
        merge_card(standing_card(target, start), ours, standing_files(target.repo, start))
    # A sidecar has no texts.
    warning = exposed(target) if plan.config.output.mode == "columns" else None
    return Publishing(standing.words, warning)
