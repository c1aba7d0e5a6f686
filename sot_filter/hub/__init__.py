"""Publishing on the Hub: one commit, retried, resumed, or nothing."""

from sot_filter.hub.preflight import Standing, check_target, exposed
from sot_filter.hub.push import commit
from sot_filter.hub.standing import standing_card, standing_commit
from sot_filter.hub.target import Published, Target, Upload
from sot_filter.hub.upload import ensure_repository, upload_file

__all__ = [
    "Published",
    "Standing",
    "Target",
    "Upload",
    "check_target",
    "commit",
    "ensure_repository",
    "exposed",
    "standing_card",
    "standing_commit",
    "upload_file",
]
