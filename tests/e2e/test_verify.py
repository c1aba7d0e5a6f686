"""`verify` passes on a finished run, and on nothing that was touched since."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sot_filter.artifacts import read_table, write_table
from sot_filter.errors import ArtifactError
from sot_filter.verification import verify_run
from tests.e2e.cases import Case, restored, rows_of
from tests.e2e.conftest import Cli


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Case:
    """A run of two files with rows of every kind."""
    rows = rows_of(20, 3, "prompt_completion")
    files = {
        "a.jsonl": [*rows, rows[2], {"prompt": "", "completion": ""}, {"prompt": {"no": "text"}, "completion": ""}],
        "b.ndjson": rows_of(9, 4, "prompt_completion"),
    }
    case = Case(tmp_path_factory.mktemp("verify"), encoder, files)
    case.run()
    return case


@pytest.fixture(scope="module")
def columnar(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Case:
    """A run of a Parquet file."""
    case = Case(tmp_path_factory.mktemp("columnar"), encoder, {"c.parquet": rows_of(20, 5)})
    case.run()
    return case


def failed(case: Case) -> list[str]:
    return [check.name for check in verify_run(case.plan()) if not check.passed]


def test_a_finished_run_passes(finished: Case, tmp_path: Path, cli: Cli) -> None:
    assert failed(finished) == []
    ended = cli("verify", finished.pipeline, "--json")
    assert ended.code == 0
    checks = json.loads(ended.out)
    assert len(checks) >= 8
    assert all(check["passed"] for check in checks)


def in_lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """A change of the lines of a file."""

    def apply(path: Path) -> None:
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return apply


def reweighed(lines: list[str]) -> list[str]:
    row = json.loads(lines[0])
    return [json.dumps({**row, "sot_weight": row["sot_weight"] + 0.25}) + "\n", *lines[1:]]


def retold(lines: list[str]) -> list[str]:
    return [json.dumps({**json.loads(lines[0]), "completion": "other words"}) + "\n", *lines[1:]]


def swapped(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def with_weight_column_of_ones(path: Path) -> None:
    table = pq.read_table(path)
    place = table.column_names.index("sot_weight")
    pq.write_table(table.set_column(place, "sot_weight", pa.array([1.0] * len(table), pa.float32())), path)


COLUMNS_WRONG = "every output row has the columns its scores say"
SOURCE_CHANGED = "no column of the source has changed"
IDS_WRONG = "row ids are unique and complete"
BYTES = "every output file is, to the byte, what was published"
TAMPERING = {
    "a weight": ("a.jsonl", in_lines(reweighed), {BYTES, COLUMNS_WRONG}),
    "an old column": ("a.jsonl", in_lines(retold), {BYTES, SOURCE_CHANGED}),
    "the order of two rows": ("a.jsonl", in_lines(swapped), {BYTES, COLUMNS_WRONG, SOURCE_CHANGED}),
    "a row taken out": ("a.jsonl", in_lines(lambda lines: lines[:-1]), {BYTES, COLUMNS_WRONG, IDS_WRONG}),
    "a row put in": ("a.jsonl", in_lines(lambda lines: [*lines, lines[-1]]), {BYTES, COLUMNS_WRONG, IDS_WRONG}),
    "white space": ("a.jsonl", in_lines(lambda lines: [" " + lines[0], *lines[1:]]), {BYTES}),
    "a broken line": ("a.jsonl", in_lines(lambda lines: [lines[0][:-9] + "\n", *lines[1:]]), {BYTES, COLUMNS_WRONG}),
    "two rows of the second file": ("b.ndjson", in_lines(swapped), {BYTES, COLUMNS_WRONG, SOURCE_CHANGED}),
    "a file removed": ("b.ndjson", Path.unlink, {BYTES, COLUMNS_WRONG, IDS_WRONG}),
}


@pytest.mark.parametrize(("name", "tamper", "seen"), TAMPERING.values(), ids=TAMPERING)
def test_it_sees_an_output_that_was_touched(
    finished: Case, name: str, tamper: Callable[[Path], None], seen: set[str]
) -> None:
    with restored(finished.output / name):
        tamper(finished.output / name)
        assert seen <= set(failed(finished))
    assert failed(finished) == []


@pytest.mark.parametrize("tamper", [with_weight_column_of_ones, lambda path: path.write_bytes(path.read_bytes()[:-4])])
def test_it_sees_a_column_and_a_footer_that_were_touched(columnar: Case, tamper: Callable[[Path], None]) -> None:
    assert failed(columnar) == []
    with restored(columnar.output / "c.parquet"):
        tamper(columnar.output / "c.parquet")
        assert {BYTES, COLUMNS_WRONG} <= set(failed(columnar))


def test_a_sidecar_is_compared_with_the_texts(tmp_path: Path, encoder: Path) -> None:
    case = Case(tmp_path, encoder, {"d.jsonl": rows_of(12, 6)})
    case.settings["output"].update(mode="sidecar", prefix="w_")
    case.run()
    assert failed(case) == []
    path = case.output / "sot" / "d.jsonl.parquet"
    table = pq.read_table(path)
    for name, seen in (("w_digest", "every digest is that of the source's text"), ("w_score", COLUMNS_WRONG)):
        place = table.column_names.index(name)
        with restored(path):
            pq.write_table(table.set_column(place, name, table[name].take(pa.array([1, 0, *range(2, 12)]))), path)
            assert set(failed(case)) == {BYTES, seen}


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
@pytest.mark.parametrize(
    "what", ["embed/input-*/a.jsonl/*.arrow", "weigh/a.jsonl/*.arrow", "solve/solution.safetensors"]
)
def test_it_sees_a_byte_of_an_artifact(finished: Case, what: str, place: float) -> None:
    (path,) = finished.work.glob(what)
    with restored(path):
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 1
        path.write_bytes(data)
        assert failed(finished) == ["every artifact is there, with the digest of its manifest"]


@pytest.mark.parametrize(
    "name",
    ["score", "own", "learned", "pull", "harmful_cluster_share", "score_low", "score_high", "reseeded", "replicate:3"],
)
def test_it_sees_scores_that_were_announced_anew(finished: Case, name: str) -> None:
    plan = finished.plan()
    (part, *_) = plan.sources["input"].parts(plan.part_rows)
    url = plan.layout.scores(part)
    table = read_table(url, plan.keys["weigh"])
    scores = table[name].to_numpy().copy()
    scores[[0, 1]] = scores[[1, 0]]
    place = table.column_names.index(name)
    with restored(Path(url)), restored(Path(f"{url}.json")):
        write_table(url, table.set_column(place, name, pa.array(scores)), plan.keys["weigh"])
        assert "scores follow from embeddings and potentials" in failed(finished)


def test_it_sees_a_cut_that_was_announced_anew(finished: Case) -> None:
    path = finished.work / "select" / "selection.json"
    with restored(path):
        manifest = json.loads(path.read_text())
        manifest["facts"]["log_normaliser"] += 0.5
        path.write_text(json.dumps(manifest))
        assert {"the cut follows from the scores", COLUMNS_WRONG} <= set(failed(finished))


@pytest.mark.parametrize("file", ["rows/a.jsonl", "rows/b.ndjson", "safe.jsonl", "harmful.jsonl"])
def test_it_sees_sources_that_changed(finished: Case, file: str) -> None:
    path = finished.folder / file
    with restored(path):
        path.write_text(path.read_text().replace("flour", "three").replace("first", "salt"))
        assert failed(finished) == ["sources, references, model and settings are those of the run"]


def test_it_fails_with_exit_code_one(finished: Case, cli: Cli) -> None:
    path = finished.output / "a.jsonl"
    with restored(path):
        in_lines(reweighed)(path)
        ended = cli("verify", finished.pipeline)
    assert ended.code == 1
    assert "FAILED" in ended.out
    assert ended.err == ""


def test_there_is_nothing_to_verify_before_a_run(case: Case) -> None:
    with pytest.raises(ArtifactError, match="run"):
        verify_run(case.plan())
