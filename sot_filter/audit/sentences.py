"""What a reader of an audit should be wary of, in sentences; each has a limit that is said here."""

from collections.abc import Iterator
from typing import Any, Final

from sot_filter.audit.proportion import wilson

#: Share of wrong labels that the interval must lie above.
_NOISE: Final = 0.01
#: Share of near duplicates in a reference, and of one group of them.
_REPEATED: Final = 0.1
_ONE_GROUP: Final = 0.05
#: Share of a reference's rows in one of its clusters, in fair shares of a cluster.
_FAIR_SHARES: Final = 5
#: Share of the input near neither reference that the interval must lie above, in units of what is expected of rows
#: like the references' own.
_UNCOVERED: Final = 2
#: Share of the kept rows that may change with one cluster, or with one row, of a reference.
_BY_CLUSTER: Final = 0.05
_BY_ROW: Final = 0.01
_ROLES: Final = ("safe", "harmful")


def sentences(found: dict[str, Any]) -> list[str]:
    """Warnings on the findings of `sot_filter.auditing.audit_sides`; ids are in them, never texts."""
    return [
        *_noise(found),
        *_repeats(found),
        *_overlap(found),
        *_coverage(found),
        *_kinds(found),
        *_leverage(found),
    ]


def _noise(found: dict[str, Any]) -> Iterator[str]:
    for role in _ROLES:
        noise, n = found["contamination"][role], found["rows"][role]
        if noise is None:
            yield (
                f"The {role} reference has {n:,} rows; label noise is estimated from {found['fewest_rows']} rows in "
                "each reference."
            )
        elif noise["low"] > _NOISE:
            other = _other(role)
            yield (
                f"About {noise['share']:.0%} of the {role} reference ({noise['low']:.0%} to {noise['high']:.0%}) look "
                f"{other}: check the {_rows(noise['rows'])} that look most so, as {noise['suspects'][0]['id']}."
            )


def _repeats(found: dict[str, Any]) -> Iterator[str]:
    for role in _ROLES:
        n, repeats = found["rows"][role], found["duplicates"][role]
        if (share := repeats["near_duplicates"] / n) > _REPEATED:
            yield (
                f"{share:.0%} of the {role} reference say nearly what another row says: of {n:,} rows "
                f"{repeats['distinct']:,} are distinct."
            )
        group = repeats["largest_group"]
        if group["rows"] > 1 and (share := group["rows"] / n) > _ONE_GROUP:
            yield f"{share:.0%} of the {role} reference say nearly the same, as {group['id']}; keep a few of them."
        cluster = repeats["largest_cluster"]
        if repeats["clusters"] > _FAIR_SHARES and cluster["share"] > _FAIR_SHARES / repeats["clusters"]:
            yield (
                f"One of {repeats['clusters']} clusters holds {cluster['share']:.0%} of the {role} reference, that of "
                f"{cluster['id']}; it speaks for the whole."
            )


def _overlap(found: dict[str, Any]) -> Iterator[str]:
    overlap = found["overlap"]
    if n := overlap["safe_harmful"]:
        yield f"{_rows(n)} of the safe reference can be found, nearly the same, in the harmful one: a label is wrong."
    for role in _ROLES:
        if (n := overlap[f"input_{role}"]) / found["rows"]["input"] > 0.01:
            yield (
                f"{_rows(n)} of the input are nearly the same as rows of the {role} reference; what the audit, or a "
                "benchmark, says of them is no evidence for other rows."
            )


def _coverage(found: dict[str, Any]) -> Iterator[str]:
    n, neither = found["rows"]["input"], found["coverage"]["neither"]
    expected = found["coverage"]["miss"]
    if wilson(neither, n)[0] > _UNCOVERED * expected:
        yield (
            f"{neither / n:.0%} of the input are near neither reference, where {expected:.0%} are to be expected: the "
            "safe reference is too narrow for this input; add safe rows of its kind."
        )


def _kinds(found: dict[str, Any]) -> Iterator[str]:
    for facet, entry in found["coverage"]["safe"]["facets"].items():
        if lacking := entry["lacking"]:
            named = ", ".join(f"{kind} ({share:.0%})" for kind, share in list(lacking.items())[:3])
            yield f"The safe reference lacks, or nearly lacks, rows of a {facet} that the input has: {named}."


def _leverage(found: dict[str, Any]) -> Iterator[str]:
    for role in _ROLES:
        for kind, limit in (("clusters", _BY_CLUSTER), ("rows", _BY_ROW)):
            for entry in found["leverage"][role][kind][:1]:
                if entry["kept_changed"] > limit:
                    what = f"the {_rows(entry['rows'])} of the cluster of" if kind == "clusters" else "the row"
                    yield (
                        f"Without {what} {entry['id']} in the {role} reference, {entry['kept_changed']:.0%} of the "
                        "kept rows would be others."
                    )


def _other(role: str) -> str:
    return "harmful" if role == "safe" else "safe"


def _rows(n: int) -> str:
    return f"{n:,} row" if n == 1 else f"{n:,} rows"
