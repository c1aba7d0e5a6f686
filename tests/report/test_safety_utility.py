from itertools import combinations

import pytest

from sot_filter.errors import ConfigError
from sot_filter.report.looks import our_style, single
from sot_filter.report.safety_utility import COLUMNS, Point, place_names, safety_utility
from tests.report.test_pictures import rows_of


def test_the_data_are_the_points() -> None:
    points = [Point("=a", 90.0, 50.0, (85.0, 93.0), (48.0, 52.0), "@group"), Point("b", -1.5, 70.0)]
    first, second = rows_of(safety_utility(points, title="run"))
    assert tuple(first) == COLUMNS
    assert list(first.values()) == ["'=a", "'@group", "90.0", "85.0", "93.0", "50.0", "48.0", "52.0"]
    assert list(second.values()) == ["b", "", "-1.5", "", "", "70.0", "", ""]


@pytest.mark.parametrize("groups", [0, 6])
def test_too_few_or_too_many_groups_are_refused(groups: int) -> None:
    with pytest.raises(ConfigError, match="Draw them apart"):
        safety_utility([Point("a", 1, 1, group=f"group {i}") for i in range(groups)], title="run")


@pytest.mark.parametrize("count", [1, 40])
def test_points_in_one_place_with_long_names(count: int) -> None:
    groups = [f"a group with a long name {i} " + "long " * 30 for i in range(5)]
    points = [Point(f"model {i} " * 9, 1.0, 1.0, group=groups[i % 5]) for i in range(count)]
    assert safety_utility(points, title="run").svg


def test_intervals_and_lines_are_seen() -> None:
    bare = [Point("a", 1, 1, group="g"), Point("b", 2, 3, group="g")]
    barred = [bare[0]._replace(safety_interval=(0.5, 1.5)), bare[1]._replace(utility_interval=(2.5, 3.5))]
    apart = [bare[0], bare[1]._replace(group="h")]
    images = [safety_utility(points, title="run").png for points in (bare, barred, apart)]
    assert len({*images, safety_utility(bare, title="run", joined=False).png}) == 4


@pytest.mark.parametrize("step", [0.0, 0.1, 1.0])
def test_names_hide_neither_each_other_nor_a_point(step: float) -> None:
    points = [Point(f"model {i}", 5 + step * i, 5 + step * i) for i in range(6)]
    with our_style():
        figure = single("run", "")
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.set(xlim=(0, 12), ylim=(0, 12))
        boxes = place_names(figure, axes, points, {"": "black"})
        at = axes.transData.transform([(point.utility, point.safety) for point in points])
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(*point) for box in boxes for point in at)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_names_far_from_their_points_do_not_widen_the_axes() -> None:
    crowd = [Point(f"model {i} of a crowd", 80 + i / 4, -4.66 - 1e-4 * i) for i in range(24)]
    points = [*crowd, Point("one alone", 40, -4.75)]
    with our_style():
        figure = single("run", "")
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.scatter([point.utility for point in points], [point.safety for point in points])
        place_names(figure, axes, points, {"": "black"})
    assert axes.get_lines(), "some names stand so far off that a line leads to them"
    assert -4.77 < axes.get_xlim()[0] < axes.get_xlim()[1] < -4.64
    assert 30 < axes.get_ylim()[0] < axes.get_ylim()[1] < 95
