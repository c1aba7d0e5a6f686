"""Pipeline files and cards: what is wrong is named with its line, its key, and the key that was meant."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sot_filter.config import Auto, Pipeline, ReferenceCard, dump_yaml, load_card, load_pipeline
from sot_filter.errors import ConfigError

LEAST = """\
name: toy
input: {files: rows.jsonl}
references: {safe: safe.jsonl, harmful: harmful.jsonl}
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A YAML file, by default one that holds the least and then the text."""

    def written(text: str = "", head: str = LEAST) -> str:
        path = tmp_path / "toy.yaml"
        path.write_text(head + text, encoding="utf-8")
        return str(path)

    return written


def message(path: str, *settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(path, settings)
    return str(caught.value)


def test_the_least_that_is_needed(write: Write) -> None:
    config = load_pipeline(write())
    assert (config.work_dir, config.output.folder) == ("runs/toy", "out/toy")
    assert config.select.retention == 0.8
    assert load_pipeline(write("work_dir: w\noutput: {folder: o}\n")).output.folder == "o"


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("sovle: {}", "sovle", "solve"),
        ("solve: {epsilonn: 1}", "solve.epsilonn", "epsilon"),
        ("solve: {paper: {step: 3}}", "solve.paper.step", "steps"),
        ("embed: {pool: mean}", "embed.pool", "pooling"),
        ("cluster: {centroid: 3}", "cluster.centroid", "centroids"),
        ("select: {retain: 0.5}", "select.retain", "retention"),
        ("output: {foldr: x}", "output.foldr", "folder"),
        ("output: {hub: {repo: a/b, privat: true}}", "output.hub.privat", "private"),
        ("executor: {worker: 2}", "executor.worker", "workers"),
    ],
)
def test_an_unknown_key_names_the_nearest(write: Write, text: str, key: str, meant: str) -> None:
    said = message(write(text))
    assert f"got unknown key {key} in " in said
    assert said.endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize(
    ("head", "key", "meant"),
    [
        (LEAST.replace("files:", "split: test, file:"), "input.file", "files"),
        (LEAST.replace("harmful:", "harm:"), "references.harm", "harmful"),
        (LEAST.replace("safe.jsonl", "{files: safe.jsonl, smaple: 3}"), "references.safe.smaple", "sample"),
        (LEAST.replace("safe.jsonl", "[{files: s.jsonl, wher: {}}]"), "references.safe.0.wher", "where"),
    ],
)
def test_an_unknown_key_of_the_rows_names_the_nearest(write: Write, head: str, key: str, meant: str) -> None:
    said = message(write(head=head))
    assert f"unknown key {key}" in said
    assert f"Did you mean {meant}?" in said


def test_a_key_that_is_like_no_other_is_to_be_removed(write: Write) -> None:
    said = message(write("zzz: 1"))
    assert "one of the keys version, name, seed, input, references, embed" in said
    assert said.endswith("Remove it.")


def test_several_faults_are_told_at_once(write: Write) -> None:
    said = message(write("solve: {epsilonn: 1, tao: 2}\nembed: {poolin: x}"))
    assert all(part in said for part in ("solve.epsilonn", "solve.tao", "embed.poolin", "Did you mean tau?"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("solve: {epsilon: -1}", ["solve.epsilon", "'auto'", "greater than 0", "-1 in"]),
        ("solve: {mode: fast}", ["solve.mode", "'exact'", '"fast"']),
        ("embed: {views: [pair, answer]}", ["embed.views", "'response'", '"answer"']),
        ("embed: {views: []}", ["some of pair, prompt, response, each once under embed; got none"]),
        (
            "select: {top_k: 3, retention: 0.5}",
            ["one of retention, top_k, threshold, auto under select; got retention and"],
        ),
        ("output: {hub: {private: true}}", ["a value for output.hub.repo; got none", "Add output.hub.repo."]),
        ("seed: many", ["seed", "integer", '"many"']),
        ("solve: 3", ["solve", "got 3 in"]),
    ],
)
def test_a_wrong_value_is_shown_with_its_key(write: Write, text: str, says: list[str]) -> None:
    said = message(write(text))
    assert all(part in said for part in says), said
    assert "toy.yaml" in said


def test_what_is_missing_is_named(write: Write) -> None:
    said = message(write(head="name: toy\n"))
    assert "Add input." in said
    assert "Add references." in said
    assert "either `dataset` (a Hub id) or `files` (local paths) under input; got neither" in message(
        write(head=LEAST.replace("{files: rows.jsonl}", "{}"))
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("solve: {epsilon: 1\nseed: 2", r":\d+\. Correct that line"),
        ("a: b: c", r"mapping values are not allowed here at .*toy\.yaml:4"),
        ("solve:\n\tepsilon: 1", r"at .*toy\.yaml:5"),
        ("seed: 1\nseed: 2", r"key 'seed' is given twice at .*toy\.yaml:5"),
        ("solve:\n  tau: 1\n  epsilon: 1\n  tau: 2", r"key 'tau' is given twice at .*toy\.yaml:7"),
        ("input: {files: x}", r"key 'input' is given twice at .*toy\.yaml:4"),
        ("? [a, b]\n: c", r"unhashable key at .*toy\.yaml:4"),
        ("seed: !!python/object/apply:os.getcwd []", r"could not determine a constructor .*toy\.yaml:4"),
        ("seed: \x00", r"got unacceptable character #x0000: .* in .*toy\.yaml\. Correct the file"),
        ("---\nseed: 1", r"but found another document at .*toy\.yaml:4"),
    ],
)
def test_broken_yaml_names_the_line(write: Write, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_pipeline(write(text))


@pytest.mark.parametrize(
    ("text", "got"), [("", "nothing"), ("- a", "a list"), ("text", "a str"), ("# only this", "nothing")]
)
def test_a_file_without_keys_is_told(write: Write, text: str, got: str) -> None:
    assert f"expected keys and values; got {got} in " in message(write(head=text))


def test_keys_that_are_no_text_are_told(write: Write) -> None:
    assert "toy.yaml" in message(write("1: x"))


def test_other_bytes_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    assert "expected UTF-8 text; got other bytes in" in message(str(tmp_path / "latin.yaml"))
    assert f"a pipeline file at {tmp_path}/none.yaml; got no such file" in message(f"{tmp_path}/none.yaml")
    assert "no such file" in message(str(tmp_path))


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("seed=7", lambda c: c.seed == 7),
        ("solve.epsilon=0.1", lambda c: c.solve.epsilon == 0.1),
        ("solve.epsilon=1e-3", lambda c: c.solve.epsilon == 0.001),
        ("solve.rho_safe=inf", lambda c: c.solve.rho_safe == math.inf),
        ("solve.rho_safe=.inf", lambda c: c.solve.rho_safe == math.inf),
        ("solve.rho_safe=auto", lambda c: c.solve.rho_safe == "auto"),
        ("embed.views=[pair]", lambda c: c.embed.views == ("pair",)),
        ("select={top_k: 3}", lambda c: (c.select.top_k, c.select.retention) == (3, None)),
        ("select=auto", lambda c: (c.select.auto, c.select.retention) == (Auto(), None)),
        ("select={auto: {safe_lost: 0.1}}", lambda c: c.select.auto == Auto(safe_lost=0.1)),
        ("input.files=a=b.jsonl", lambda c: c.input.files == "a=b.jsonl"),
        ("input.columns.prompt=q", lambda c: c.input.columns == {"prompt": "q"}),
        ("embed.max_length=", lambda c: c.embed.max_length is None),
        ("executor.workers=2", lambda c: c.executor.workers == 2),
    ],
)
def test_a_setting_is_overridden(write: Write, setting: str, read: Callable[[Pipeline], bool]) -> None:
    assert read(load_pipeline(write("select: {retention: 0.5}\n"), [setting]))


def test_a_part_of_auto_is_overridden_where_the_file_just_says_auto(write: Write) -> None:
    file = write("select: auto\n")
    assert load_pipeline(file, []).select.auto == Auto()
    assert load_pipeline(file, ["select.auto.harmful_kept=0.1"]).select.auto == Auto(harmful_kept=0.1)
    assert load_pipeline(file, ["select.auto=null", "select.top_k=3"]).select.top_k == 3


def test_the_last_override_wins(write: Write) -> None:
    assert load_pipeline(write("seed: 1"), ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("seed", "expected --set key=value; got --set seed."),
        ("=3", "expected --set key=value; got --set =3."),
        ("seed.x=1", "expected a section; got seed in --set seed.x=1, which is a value."),
        ("seed=[1", "expected a YAML value; got --set seed=[1. Quote the value."),
        ("solve.epsilom=1", "Did you mean epsilon?"),
        ("solve.epsilon=-1", "solve.epsilon"),
    ],
)
def test_a_wrong_override_is_explained(write: Write, setting: str, says: str) -> None:
    assert says in message(write("seed: 1"), setting)


def test_a_card_finds_its_files_beside_it_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "kind.yaml").write_text("files: [../rows/*.jsonl, 'memory://x.jsonl']\nlicence: x\n")
    monkeypatch.chdir(tmp_path)
    for path in ("cards/kind.yaml", str(tmp_path / "cards/kind.yaml")):
        card = load_card(path)
        assert card.name == "kind"
        first, other = card.files or ()
        assert Path(first).parent.resolve() == tmp_path / "rows"
        assert other == "memory://x.jsonl"


def test_what_comes_with_the_package_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_pipeline("pipelines/demo.yaml").name == "demo"
    assert load_card("references/safe/demo.yaml").files


def test_a_wrong_card_is_explained(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("files: x\nlicense: mit\n")
    with pytest.raises(ConfigError, match=r"unknown key license in .*card\.yaml\. Did you mean licence\?"):
        load_card(f"{tmp_path}/card.yaml")


scalars = st.text(max_size=8) | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False)
positive = st.floats(min_value=0, exclude_min=True)


@settings(max_examples=50)
@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
    files=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=2),
    columns=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    where=st.dictionaries(st.text(max_size=5), scalars | st.lists(scalars, max_size=2), max_size=2),
    solve=st.fixed_dictionaries(
        {"epsilon": positive, "rho_safe": st.just("auto") | st.floats(min_value=0), "memory_gib": positive}
    ),
    select=st.one_of(
        st.builds(lambda x: {"threshold": x}, st.floats(allow_nan=False)),
        st.builds(lambda x: {"top_k": x}, st.integers(1)),
        st.builds(lambda x: {"retention": x}, st.floats(0, 1, exclude_min=True)),
        st.builds(lambda x: {"auto": {"safe_lost": x}}, st.floats(0, 1)),
    ),
)
@example(name="x", files=["\x85\u2028"], columns={}, where={}, solve={"rho_safe": math.inf}, select={"top_k": 1})
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, **given_as: Any) -> None:
    rows = {"files": given_as["files"], "columns": given_as["columns"]}
    config = Pipeline.model_validate(
        {
            "name": given_as["name"],
            "input": {**rows, "label": given_as["where"]},
            "references": {
                "safe": {**rows, "where": given_as["where"], "sample": 3},
                "harmful": ["a", {"files": "b"}],
            },
            "solve": given_as["solve"],
            "select": given_as["select"],
        }
    )
    assert Pipeline.model_validate(yaml.safe_load(dump_yaml(config))) == config
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump_yaml(config), encoding="utf-8")
    found = load_pipeline(str(path))
    assert found.model_copy(update={"work_dir": None, "output": config.output}) == config


def test_a_card_is_written_and_read_back() -> None:
    card = ReferenceCard(files=("a", "b"), where={"x": (1, "1", True)}, description="é: [x]", sample=3)
    assert ReferenceCard.model_validate(yaml.safe_load(dump_yaml(card))) == card
