"""`refs audit` before and after a run: what it embeds, what it prints, how it exits."""

import json

from sot_filter.auditing import audit_references
from sot_filter.executors import rows_done
from sot_filter.plan import build_stages
from tests.e2e.cases import Case, contents, rows_of, write_rows
from tests.e2e.conftest import Cli


def test_it_embeds_what_is_missing_and_the_run_goes_on_from_there(case: Case, cli: Cli) -> None:
    ended = cli("refs", "audit", case.pipeline, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["name"] == "case"
    assert found["rows"] == {"input": 50, "safe": 24, "harmful": 20}
    assert found["contamination"] == {"safe": None, "harmful": None}
    assert set(found["coverage"]["safe"]["facets"]) == {"language", "length", "format", "code"}
    done = {stage.name: rows_done(stage) for stage in build_stages(case.plan())}
    assert done["embed"] == 94
    assert not done["solve"]
    before = contents(case.work / "embed")
    case.run()
    assert contents(case.work / "embed") == before
    assert len(case.rows()) == 50


def test_a_finished_run_is_read_and_left_alone(case: Case, cli: Cli) -> None:
    case.run()
    before = contents(case.work) | contents(case.output)
    shown = cli("refs", "audit", case.pipeline)
    assert shown.code == 0, shown.err
    assert contents(case.work) | contents(case.output) == before
    assert all(
        word in shown.out for word in ("wrong labels", "near duplicates", "leverage", "cluster of", "! The safe")
    )
    for row in rows_of(24, 1001, "prompt_completion", 0.0):
        assert row["completion"] not in shown.out
    # Settings of the solve may be others; its embeddings are the same.
    assert cli("refs", "audit", case.pipeline, "--set", "solve.epsilon=0.2").code == 0
    assert contents(case.work) | contents(case.output) == before


def test_strict_fails_on_a_warning(case: Case, cli: Cli) -> None:
    case.run()
    assert cli("refs", "audit", case.pipeline, "--strict").code == 4


def test_planted_rows_are_named_by_their_own_ids(case: Case) -> None:
    wrong = rows_of(12, 1003, "prompt_completion", 1.0)
    write_rows(case.folder / "safe.jsonl", rows_of(60, 1001, "prompt_completion", 0.0) + wrong)
    write_rows(case.folder / "harmful.jsonl", rows_of(72, 1002, "prompt_completion", 1.0))
    case.run()
    found = audit_references(case.plan())
    noise = found["contamination"]["safe"]
    assert 0.05 < noise["share"] < 0.25
    named = {suspect["id"] for suspect in noise["suspects"]}
    planted = {f"safe:default/train/safe.jsonl#{i}" for i in range(60, 72)}
    assert len(named & planted) / len(named) > 0.7
