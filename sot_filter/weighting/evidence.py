"""Why a row was kept or dropped, in one plain sentence made of its own numbers."""

from sot_filter.rows import EMPTY, INVALID


def reason(
    status: str,
    *,
    kept: bool = False,
    score: float = 0.0,
    cut: float = 0.0,
    weight: float = 1.0,
    safe_similarity: float = 0.0,
    harmful_similarity: float = 0.0,
    cluster: str = "",
    cluster_share: float = 0.0,
    retention: float | None = None,
    replicates: tuple[int, int] | None = None,
    duplicate_of: str = "",
    truncated: bool = False,
    kept_for: str = "",
    unknown: str = "",
    policy: str = "keep",
    detail: str = "",
) -> str:
    """Say it.

    Args:
        status: the row's status, one of `sot_filter.rows.STATUSES`.
        kept: whether the row is kept.
        score: its score.
        cut: the lowest score that is kept.
        weight: its weight; kept rows have one in the mean.
        safe_similarity: cosine with its nearest safe reference row, -1 to 1.
        harmful_similarity: cosine with its nearest harmful reference row, -1 to 1.
        cluster: id of the harmful row that stands for the cluster to which most of the row's mass goes.
        cluster_share: the share that goes there, 0 to 1.
        retention: the least retention that keeps the row.
        replicates: in how many replicates of the references it is kept, and of how many, if it is on the edge.
        duplicate_of: id of the first row with the same text, if this is a later one.
        truncated: whether only a part of its text fits the model.
        kept_for: the slice whose minimum retention keeps it although it is below the cut, if that is why.
        unknown: why it is unknown to the references, from `sot_filter.weighting.unknown_words`, if it is.
        policy: what is done with unknown rows: keep, down_weight, drop or review.
        detail: what is wrong with an invalid row.
    """
    if status == EMPTY:
        return "There is no text to embed, so it cannot be judged and is never kept."
    if status == INVALID:
        return f"It cannot be read, so it is never kept: {detail}."
    fate = "Kept" if kept else "Set aside for review" if unknown and policy == "review" else "Dropped"
    side = "below" if score < cut else "at or above" if kept and not kept_for else "on"
    said = f"{fate}: score {score:+.4f} is {side} the cut {cut:+.4f}"
    if unknown and policy in ("drop", "review"):
        said = f"{fate}: unknown"
    if kept_for:
        said += f", but the slice {kept_for} would keep less than its minimum without it"
    if unknown:
        said += f"; it is {unknown}" + (", so its weight is lowered" if kept and policy == "down_weight" else "")
    said += (
        f"; similarity {safe_similarity:.2f} to the nearest safe row, {harmful_similarity:.2f} to the nearest harmful"
    )
    lighter = kept and weight < 1
    if lighter:
        said += f"; weight {weight:.2f}, less than the mean of one"
    if cluster and (lighter or not kept):
        said += f"; claimed by the harmful cluster of {cluster} with {cluster_share:.0%} of its mass"
    if retention is not None and not kept:
        said += f"; would be kept at retention {retention:.3f}"
    if replicates is not None:
        said += "; on the edge: kept in {} of {} replicates".format(*replicates)
    if duplicate_of:
        said += f"; same text as {duplicate_of}"
    if truncated:
        said += "; only a part of its text fits the model"
    return f"{said}."
