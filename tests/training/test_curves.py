import csv
import io
import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.image import imread

from sot_filter.errors import ArtifactError, ConfigError
from sot_filter.training.curves import COLUMNS, SIZE, picture, table, write_curves
from sot_filter.training.history import Record
from sot_filter.training.probe import wilson


def a_history(fall: int = 2, looks: int = 5, stop: str | None = None) -> list[Record]:
    """Looks and losses each 20 steps; the loss in training each 10."""
    records: list[Record] = []
    for look in range(looks):
        step, preferred = 20 * look, 100 - fall * look
        low, high = wilson(preferred, 100)
        seen: dict[str, Any] = {"triples": 100, "preferred": preferred, "low": low, "high": high, "digest": "0" * 32}
        seen |= {"margin": 9.0 - look, "margin_per_token": 0.5, "not_finite": 0}
        seen["stop"] = stop if look + 1 == looks else None
        records.append({"step": step, "epoch": step / 40, "safety": seen})
        records.append({"step": step, "epoch": step / 40, "utility": 1 + 2 * math.exp(-look)})
        records.append({"step": step + 10, "epoch": (step + 10) / 40, "training": 3.0 - look / 10})
    return records


def test_the_table_has_a_row_for_each_step(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(table({"weighted": a_history(), "plain": a_history(9, 2)}))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["run"], int(row["step"])) for row in rows] == [
        *(("weighted", step) for step in range(0, 100, 10)),
        *(("plain", step) for step in range(0, 40, 10)),
    ]
    first, second = rows[2], rows[3]
    assert (first["preferred"], first["share"], first["margin"]) == ("98", "0.98", "8.0")
    assert (float(first["low"]), float(first["high"])) == wilson(98, 100)
    assert float(first["utility_loss"]) == 1 + 2 * math.exp(-1)
    assert (second["training_loss"], second["share"], second["utility_loss"], second["epoch"]) == (
        "2.9",
        "",
        "",
        "0.75",
    )


def test_a_name_is_no_formula() -> None:
    for name in ("=1+1", "+1", "-1", "@sum", "\t=1", "  =1"):
        [row] = csv.DictReader(io.StringIO(table({name: [{"step": 0, "epoch": 0.0, "utility": 1.0}]})))
        assert row["run"] == f"'{name}"
    [row] = csv.DictReader(io.StringIO(table({"a=b, c": [{"step": 0, "epoch": 0.0, "utility": None}]})))
    assert (row["run"], row["utility_loss"]) == ("a=b, c", "")


def test_the_files_are_whole_and_the_same_each_time(tmp_path: Path) -> None:
    runs = {"weighted": a_history(), "unweighted": a_history(9, stop="it fell")}
    files = write_curves(runs, tmp_path / "new" / "curves", "demo", "100 steps")
    assert [file.name for file in files] == ["curves.png", "curves.svg", "curves.csv"]
    assert sorted(file.name for file in files[0].parent.iterdir()) == ["curves.csv", "curves.png", "curves.svg"]
    before = [file.read_bytes() for file in files]
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.fonttype": "none"}):
        write_curves(runs, tmp_path / "new" / "curves", "demo", "100 steps")
    assert [file.read_bytes() for file in files] == before
    assert imread(files[0]).shape[:2] == SIZE[::-1]
    assert ET.fromstring(files[1].read_text()).tag.endswith("svg")


def drawn_in(svg: bytes, colour: str) -> list[list[tuple[float, float]]]:
    """The lines of a colour, as their points."""
    paths = re.findall(rf'<path d="([^"]*)" clip-path[^>]*style="fill: none; stroke: {colour}', svg.decode())
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path)] for path in paths]


def test_both_curves_show_what_was_seen() -> None:
    safety, utility = drawn_in(picture({"weighted": a_history()}, "demo")["svg"], "#0067a5")
    assert len(safety) == len(utility) == 5
    falls = [after[1] - before[1] for before, after in pairwise(safety)]
    assert falls == pytest.approx([falls[0]] * 4, abs=1e-3)
    assert falls[0] > 0
    # What is higher is higher up, in proportion: each fall of the loss is 1/e of the one before.
    drops = [after[1] - before[1] for before, after in pairwise(utility)]
    assert drops[1] / drops[0] == pytest.approx(math.exp(-1), abs=1e-3)
    # Both panels have the same steps.
    assert [x for x, _ in utility] == pytest.approx([x + utility[0][0] - safety[0][0] for x, _ in safety], abs=1e-2)


def test_the_training_loss_stands_in_where_nothing_is_evaluated() -> None:
    records = [record for record in a_history() if "utility" not in record]
    _, training = drawn_in(picture({"weighted": records}, "demo")["svg"], "#0067a5")
    assert len(training) == 5


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"step": 0, "epoch": 0.0, "training": 2.0}],
        [{"step": 5, "epoch": 0.1, "utility": None}],
        a_history(looks=1),
        a_history(fall=25, stop="all fell"),
    ],
)
def test_little_to_see_is_drawn_too(records: list[Record]) -> None:
    assert picture({"run": records}, "demo")["png"].startswith(b"\x89PNG")


def test_dollars_backslashes_and_long_names_are_text(tmp_path: Path) -> None:
    names = {"$\\frac{1}$ <b>&": a_history(), "x" * 300: a_history(3)}
    ET.fromstring(picture(names, "$x_1 \\undefined$ " + "long " * 60, "note $")["svg"])


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from one run to 5; got 0"):
        write_curves({}, tmp_path / "c", "demo")
    with pytest.raises(ConfigError, match="got 6"):
        write_curves({str(i): a_history() for i in range(6)}, tmp_path / "c", "demo")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="a folder for the curves"):
        write_curves({"a": a_history()}, tmp_path / "file" / "c", "demo")
