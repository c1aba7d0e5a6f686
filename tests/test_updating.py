"""The limit at which `refs update` fails; the updates themselves are in tests/e2e/test_refs_update.py."""

import pytest

from sot_filter.errors import ConfigError
from sot_filter.updating import allowed


@pytest.mark.parametrize(("limit", "rows"), [("0", 0), ("10", 10), ("1%", 2), ("0.5%", 1), ("100%", 200)])
def test_a_limit_is_a_number_or_a_share(limit: str, rows: float) -> None:
    assert allowed(limit, 200) == pytest.approx(rows)


@pytest.mark.parametrize("limit", ["", "-1", "1.5", "%", "1 %", "many", "1e3", "٣"])
def test_anything_else_is_no_limit(limit: str) -> None:
    with pytest.raises(ConfigError, match="--fail-on"):
        allowed(limit, 200)
