"""An output that was touched anywhere is refused, by the first row that is not what it should be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sot_filter.errors import ArtifactError, SourceError
from sot_filter.rows import COLUMNS, DIGEST, named
from sot_filter.steps.row_truth import check_complete
from tests.e2e.cases import Case, Row, read_rows, restored
from tests.sources.written import TYPED, WRITERS
from tests.steps.published_run import check, columns_of, marked, output_of, published

#: Storage, mode and prefix of the outputs that are touched.
OUTPUTS = [
    (".parquet", "columns", "sot_"),
    (".jsonl", "columns", "w_"),
    (".json", "columns", "sot_"),
    (".csv", "columns", "sot_"),
    (".arrow", "columns", "sot_"),
    (".jsonl", "sidecar", "sot_"),
]
ROWS = 24


@pytest.fixture(scope="module", params=OUTPUTS, ids="-".join)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Any:
    """A finished output of one file, its rows, and the columns that its scores say."""
    ending, mode, prefix = request.param
    rows = [*marked(ROWS - 2, 1), {"prompt": "", "completion": " ", "mark": "empty"}]
    rows.append({**rows[3], "mark": "again"})
    folder = tmp_path_factory.mktemp("touched")
    plan = published(folder, encoder, {f"a{ending}": rows}, mode=mode, prefix=prefix)
    (file,) = plan.sources["input"].files
    path = output_of(plan, file)
    wanted = list(columns_of(plan).of_file(file))
    return SimpleNamespace(
        plan=plan, file=file, path=path, rows=read_rows(path), wanted=wanted, prefix=prefix, mode=mode
    )


def rewritten(made: Any, rows: list[Row]) -> None:
    """The output with other rows, as the library of its kind would write them."""
    ending = ".parquet" if made.mode == "sidecar" else made.file.storage
    if ending in TYPED:
        schema = pa.Table.from_pylist(made.rows).schema
        for name, kind in COLUMNS.items():
            if kind == "float32":
                place = schema.get_field_index(named(name, made.prefix))
                schema = schema.set(place, pa.field(named(name, made.prefix), pa.float32()))
        made.path.write_bytes(WRITERS[ending](pa.Table.from_pylist(rows, schema)))
    else:
        made.path.write_bytes(WRITERS[ending](rows))


def columns_changed(rows: list[Row], i: int, j: int, names: list[str]) -> list[Row]:
    """Rows i and j with each other's values of the columns."""
    one, other = ({name: rows[k][name] for name in names} for k in (i, j))
    changed = list(rows)
    changed[i], changed[j] = {**rows[i], **other}, {**rows[j], **one}
    return changed


def touches(made: Any) -> st.SearchStrategy[list[Row]]:
    """Rows shuffled, dropped, doubled, blanked, or with each other's columns."""
    rows, own = made.rows, list(made.rows[0])
    new = [named(name, made.prefix) for name in COLUMNS]
    place = st.integers(0, len(rows) - 1)
    some = st.lists(st.sampled_from(own), min_size=1, unique=True)

    def blanked(i: int, names: list[str]) -> list[Row]:
        row = rows[i]
        blank = {name: "" if isinstance(row[name], str) else type(row[name])() for name in names}
        return [*rows[:i], {**row, **blank}, *rows[i + 1 :]]

    def nudged(i: int, name: str) -> list[Row]:
        value = float(np.nextafter(np.float32(rows[i][name]), np.float32(np.inf)))
        return [*rows[:i], {**rows[i], name: value}, *rows[i + 1 :]]

    floats = [named(name, made.prefix) for name, kind in COLUMNS.items() if kind == "float32"]
    return st.one_of(
        st.permutations(rows),
        st.lists(st.sampled_from(rows), min_size=1, max_size=2 * len(rows)),
        st.builds(lambda i: rows[:i] + rows[i + 1 :], place),
        st.builds(lambda i, j: [*rows[:i], rows[j], *rows[i:]], place, place),
        st.builds(lambda i, j: columns_changed(rows, i, j, own), place, place),
        st.builds(lambda i, j, names: columns_changed(rows, i, j, names), place, place, some),
        st.builds(lambda i, j: columns_changed(rows, i, j, new), place, place),
        st.builds(lambda i, j: columns_changed(rows, i, j, new[1:]), place, place),
        st.builds(blanked, place, some),
        st.builds(nudged, place, st.sampled_from(floats)),
    )


def alike(one: list[Row], other: list[Row]) -> bool:
    return repr([list(row.items()) for row in one]) == repr([list(row.items()) for row in other])


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_that_were_touched_are_refused(made: Any, data: st.DataObject) -> None:
    rows = data.draw(touches(made))
    with restored(made.path):
        rewritten(made, rows)
        if alike(read_rows(made.path), made.rows):
            check(made.plan, made.file, made.wanted)
            return
        with pytest.raises(ArtifactError, match=r"at default/train/a\.[a-z]+#\d+\.") as refused:
            check(made.plan, made.file, made.wanted)
        first = next((i for i, (a, b) in enumerate(zip(rows, made.rows, strict=False)) if not alike([a], [b])), None)
        first = min(len(rows), len(made.rows)) if first is None else first
        assert f"{made.file.name}#{first}." in str(refused.value)


def test_the_output_as_it_was_written_passes(made: Any) -> None:
    check(made.plan, made.file, made.wanted)
    check(made.plan, made.file)


@pytest.mark.parametrize(
    "touch",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_file_that_is_gone_or_cut_is_refused(made: Any, touch: Callable[[Path], Any]) -> None:
    with restored(made.path):
        touch(made.path)
        with pytest.raises(ArtifactError, match=r"Nothing of it is published"):
            check(made.plan, made.file, made.wanted)


def test_a_column_more_or_less_is_refused(made: Any) -> None:
    for rows, said in (
        ([{**row, "more": "x"} for row in made.rows], "more"),
        ([{k: v for k, v in row.items() if k != named("sot_push", made.prefix)} for row in made.rows], "_push"),
    ):
        ending = ".parquet" if made.mode == "sidecar" else made.file.storage
        with restored(made.path):
            made.path.write_bytes(WRITERS[ending](rows))
            with pytest.raises(ArtifactError, match=said):
                check(made.plan, made.file, made.wanted)


def test_scores_of_other_rows_are_refused(made: Any) -> None:
    (table,) = made.wanted
    turned = table.take(pa.array([1, 0, *range(2, len(table))]))
    with pytest.raises(ArtifactError, match="another "):
        check(made.plan, made.file, [turned])
    with pytest.raises(ArtifactError, match="one more row"):
        check(made.plan, made.file, [table.slice(0, 5)])


def test_a_source_that_has_changed_is_refused(made: Any) -> None:
    source = Path(made.file.uri.removeprefix("file://"))
    with restored(source):
        source.write_bytes(source.read_bytes() + b"\n")
        with pytest.raises(SourceError, match="as it was when the run was planned"):
            check(made.plan, made.file, made.wanted)


def test_a_sidecar_whose_digest_is_not_of_the_source_is_refused(tmp_path: Path, encoder: Path) -> None:
    plan = published(tmp_path, encoder, {"a.parquet": marked(9, 1)}, mode="sidecar")
    (file,) = plan.sources["input"].files
    path = output_of(plan, file)
    rows = read_rows(path)
    digests = [row[DIGEST] for row in rows]
    schema = pq.read_schema(path)
    path.write_bytes(WRITERS[".parquet"](pa.Table.from_pylist(rows, schema)))
    check(plan, file)
    turned = [{**row, DIGEST: digests[(i + 1) % 9]} for i, row in enumerate(rows)]
    path.write_bytes(WRITERS[".parquet"](pa.Table.from_pylist(turned, schema)))
    with pytest.raises(ArtifactError, match=f"another {DIGEST} at default/train/a.parquet#0"):
        check(plan, file)


@pytest.mark.parametrize("kind", ["no number", "dictionaries", "no text"])
def test_values_that_arrow_finds_unequal_to_themselves(tmp_path: Path, encoder: Path, kind: str) -> None:
    """NaN, dictionaries in another order and text that is no UTF-8 are kept, and seen where they change."""
    column = {
        "no number": lambda i: pa.array([float("nan"), 0.5, float("nan"), *[float(i)] * 3]),
        "dictionaries": lambda i: pa.array(["b", "a", "b", *["ba"[i]] * 3]).dictionary_encode(),
        "no text": lambda i: pa.array([b"\xff", b"b", b"\xfe", *[bytes([i])] * 3]).view(pa.string()),
    }[kind]
    source = tmp_path / "rows" / "a.parquet"
    source.parent.mkdir()
    source.write_bytes(WRITERS[".parquet"](pa.Table.from_pylist(marked(6, 1)).append_column("own", column(0))))
    plan = published(tmp_path, encoder, {})
    (file,) = plan.sources["input"].files
    check(plan, file)
    path = output_of(plan, file)
    found = pq.read_table(path)
    path.write_bytes(WRITERS[".parquet"](found.set_column(found.column_names.index("own"), "own", column(1))))
    with pytest.raises(ArtifactError, match=r"another own at default/train/a\.parquet#3"):
        check(plan, file)


def test_a_whole_source_is_every_file_once(tmp_path: Path, encoder: Path) -> None:
    files = {"a.jsonl": marked(4, 1), "b.jsonl": marked(3, 2)}
    source = Case(tmp_path, encoder, files).plan().sources["input"]
    check_complete(source, {"a.jsonl": 4, "b.jsonl": 3})
    for rows, said in (
        ({"a.jsonl": 4}, r"expected 3 rows of b\.jsonl; got none"),
        ({"a.jsonl": 3, "b.jsonl": 4}, r"expected 4 rows of a\.jsonl; got 3"),
        ({"a.jsonl": 4, "b.jsonl": 3, "c.jsonl": 0}, r"expected no file c\.jsonl; got 0"),
    ):
        with pytest.raises(ArtifactError, match=said):
            check_complete(source, rows)
    doubled = replace(source, files=(*source.files, source.files[0]))
    with pytest.raises(ArtifactError, match="11 rows in 3 files of distinct names; got 7 in 2"):
        check_complete(doubled, {"a.jsonl": 4, "b.jsonl": 3})
