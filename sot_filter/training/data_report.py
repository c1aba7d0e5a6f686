"""What became of the rows that were to be trained on: each is used, or left out for one reason, and counted."""

from dataclasses import asdict, dataclass
from typing import Any, Final

USED: Final = "used"
#: The reasons, in the order in which they are looked for; the last is a row whose learned tokens are all cut off.
NOT_KEPT: Final = "not_kept"
ZERO_WEIGHT: Final = "zero_weight"
INVALID: Final = "invalid"
EMPTY: Final = "empty"
NO_RESPONSE: Final = "no_response"
REFUSED: Final = "refused"
CUT_AWAY: Final = "cut_away"
REASONS: Final = (NOT_KEPT, ZERO_WEIGHT, INVALID, EMPTY, NO_RESPONSE, REFUSED, CUT_AWAY)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that are left out for one reason.

    Attributes:
        rows: how many.
        weight: the sum of weights that is lost with them.
        first: the id of the first.
        why: what was said of that one, where there is more to say than the reason; never its text.
    """

    rows: int
    weight: float
    first: str
    why: str | None = None

    def __str__(self) -> str:
        return f"{self.rows}, the first {self.first}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, slots=True)
class DataReport:
    """The rows in figures.

    Attributes:
        source: the Hub dataset's id, or the folder or files as given.
        revision: the commit sha of a Hub dataset.
        config: the configuration asked for.
        split: the split.
        format: how rows were read, as `sot_filter.conversation` names it.
        columns: the column read for each field.
        weight_column: the weight column; None trains on all rows alike.
        keep_column: the keep column.
        template: how assistants' turns were found, as `sot_filter.training.render` names it.
        stops: whether the token that ends a turn is learned; None where that cannot be told.
        rows: rows in the split.
        used: rows that are trained on.
        weight: their sum of weights.
        effective_rows: how many rows of equal weight theirs are worth, (Σw)²/Σw².
        left_out: the other rows, by reason.
        tokens: tokens of the used rows, as far as they are read.
        learned: those of them that are learned; a row's first never is, since nothing comes before it.
        cut_rows: used rows that were longer than ``max_length``.
        cut_tokens: tokens that were cut off them.
        max_length: tokens of a row at most.
        digest: of the used rows' ids, weights and texts, in their order.
    """

    source: str
    revision: str | None
    config: str | None
    split: str
    format: str
    columns: dict[str, str]
    weight_column: str | None
    keep_column: str | None
    template: str | None
    stops: bool | None
    rows: int
    used: int
    weight: float
    effective_rows: float
    left_out: dict[str, LeftOut]
    tokens: int
    learned: int
    cut_rows: int
    cut_tokens: int
    max_length: int
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)
