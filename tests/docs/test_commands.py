"""Every command, YAML file and Python block of the pages is run, or read as it would be where it cannot run here.

A page's commands run in order, in a folder that has the files that pages name (`tests.docs.sandbox`). `NOT_RUN` lists
what is only parsed, and why; a command that is neither known nor listed fails.
"""

import ast
import contextlib
import functools
import json
import operator
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Final

import click
import datasets
import pytest
import yaml
from click.testing import CliRunner

from sot_filter.cli.commands import cli
from sot_filter.config import Pipeline, ReferenceCard
from sot_filter.training.config import Recipe
from tests.docs.blocks import PAGES, ROOT, Block, Command, blocks, commands, commands_of, mentions
from tests.docs.sandbox import NAMES, Sandbox, named

#: Commands that are only parsed, down to their options: a pattern of their text, and why.
NOT_RUN: Final = {
    r"sot-filter run .* --profile slurm": "needs Slurm; `make test-slurm` runs it",
    r"sot-filter run ray\.yaml": "needs Ray; `make test-ray` runs it",
    r"sot-filter pull-weights org/": "needs the Hub; tests/hub/test_pull_weights.py runs it against a stand-in",
    r"torchrun ": "needs several devices; tests/training/test_train_command.py runs it with two processes",
    r"hf ": "needs the Hub",
    r"pip install ": "needs an index; that the extras are ours is looked at",
    r"make ": "sets up and tests all of this; that the Makefile has the target is looked at",
    r"python (-m )?benchmarks": "takes minutes, or data that is not here; that it has the options is looked at",
}
#: Python blocks that are only compiled: a piece of them, and why.
NOT_EXECUTED: Final = {'load_weights("org/name-sot"': "needs the Hub; tests/hub and tests/weights do this"}
#: Commands that may end otherwise than with 0.
MAY_END_WITH: Final = {r"sot-filter refs audit .*--strict": (0, 4), r"sot-filter refs update .*--fail-on": (0, 4)}
#: Commands after which the shared runs are another's.
CHANGES_A_RUN: Final = r"sot-filter (select|refs update)"

_MINIMAL: Final = {
    "name": "x",
    "input": {"files": "x"},
    "references": {"safe": "x", "harmful": "x"},
}
_MINIMAL_TRAINING: Final = {"name": "x", "model": {"model": "x"}, "rows": {"files": "x"}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A folder in which the demo and `my.yaml` of the first page for it have run."""
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"))
    for block in blocks("docs/start.md"):
        if (name := named(block)) is not None:
            sandbox.write(name, block.text)
    (sandbox.folder / "pipeline.yaml").write_text((sandbox.folder / "my.yaml").read_text("utf-8"), "utf-8")
    for pipeline in ("pipelines/demo.yaml", "my.yaml"):
        code, sandbox.said = sandbox.run(("run", pipeline))
        assert code == 0, sandbox.said
    sandbox.keep()
    return sandbox


@pytest.fixture
def sandbox(finished: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The folder, for one page."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", finished.folder / "models" / "cache")
    yield finished
    finished.tidy()


@pytest.mark.parametrize("page", PAGES)
def test_every_block_does_what_it_says(page: str, sandbox: Sandbox) -> None:
    for block in blocks(page):
        where = f"{page}, line {block.line}"
        if (name := named(block)) is not None and "licence:" not in block.text:
            sandbox.write(name, block.text)
        if block.language == "python":
            execute(block, sandbox)
        for command in commands_of(block):
            check(command)
            if not not_run(command):
                run(command, sandbox, where)


def run(command: Command, sandbox: Sandbox, where: str) -> None:
    assert command.words[0] == "sot-filter", f"{where}: neither run nor in NOT_RUN: {command.text}"
    with sandbox.undone() if re.match(CHANGES_A_RUN, command.text) else contextlib.nullcontext():
        code, said = sandbox.run(command.words[1:])
    expected = next((codes for text, codes in MAY_END_WITH.items() if re.match(text, command.text)), (0,))
    assert code in expected, f"{where}: `{command.text}` ended with {code}: {said[-2000:]}"
    if command.words[1] == "review" and "--out" in command.words:
        sandbox.label(command.words[command.words.index("--out") + 1])


def execute(block: Block, sandbox: Sandbox) -> None:
    code = compile(block.text, f"line {block.line}", "exec")
    if any(piece in block.text for piece in NOT_EXECUTED):
        return
    with contextlib.chdir(sandbox.folder):
        exec(code, {"__name__": "page"})


def not_run(command: Command) -> str | None:
    return next((why for text, why in NOT_RUN.items() if re.match(text, command.text)), None)


def test_what_is_only_parsed_is_in_the_pages() -> None:
    given = [command.text for page in PAGES for command in commands(page)]
    for text in (*NOT_RUN, *MAY_END_WITH):
        assert any(re.match(text, command) for command in given), f"no page has {text} any more"
    python = [block.text for page in PAGES for block in blocks(page) if block.language == "python"]
    assert all(any(piece in text for text in python) for piece in NOT_EXECUTED)
    names = " ".join(given) + " ".join(block.text for page in PAGES for block in blocks(page))
    assert all(name in names for name in NAMES)


@pytest.mark.parametrize("page", PAGES)
def test_every_mention_of_a_command_is_of_one_that_exists(page: str) -> None:
    for words in mentions(page):
        if words[0] == "sot-filter":
            _, command, rest = resolve(cli, words[1:])
            known = {name for parameter in command.params for name in parameter.opts}
            used = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert used <= known, f"{' '.join(words)}: no option {used - known}"
        else:
            check(Command(words, (), 0))


@pytest.mark.parametrize("page", PAGES)
def test_every_yaml_block_is_a_file_or_a_part_of_one(page: str) -> None:
    for block in blocks(page):
        if block.language == "yaml" or (
            not block.language and re.match(r"(input|output|select|executor):", block.text)
        ):
            as_model(block)


def as_model(block: Block) -> None:
    """Read a block as what it is a part of. Raises a pydantic error where it is not right."""
    given = yaml.safe_load(block.text)
    assert isinstance(given, dict), f"line {block.line}: no mapping"
    if "licence" in given:
        ReferenceCard.model_validate(given)
    elif set(given) <= set(Pipeline.model_fields):
        Pipeline.model_validate({**_MINIMAL, **given})
    else:
        Recipe.model_validate({**_MINIMAL_TRAINING, **given})


def check(command: Command) -> None:
    """Read a command as its program would, down to its options; raises where the program would refuse it."""
    program, *rest = command.words
    if program == "sot-filter":
        parse(rest)
    elif program == "torchrun":
        at = rest.index("-m")
        assert rest[at + 1] == "sot_filter.cli"
        parse(rest[at + 2 :])
    elif program == "hf":
        from huggingface_hub.cli.hf import app

        # Its commands are loaded when they are called; a wrong option is refused before the help is shown.
        shown = CliRunner().invoke(app, [*rest, "--help"])
        assert shown.exit_code == 0, shown.output
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert rest
        assert set(rest) <= set(targets), f"no target {rest}"
    elif program == "pip":
        _check_install(rest)
    else:
        _check_script(rest)


def parse(words: list[str]) -> None:
    """Parse a command line of ours: unknown commands and options, missing arguments, wrong values are errors."""
    name, command, rest = resolve(cli, words)
    command.make_context(name, rest, resilient_parsing=False)


def resolve(command: click.Command, words: Sequence[str]) -> tuple[str, click.Command, list[str]]:
    """The innermost command that these words name, its name, and what is left for it."""
    name, rest = str(command.name), list(words)
    while isinstance(command, click.Group) and rest:
        name, *rest = rest
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"no such command: {name}"
        command = found
    return name, command, rest


def _check_install(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.search(r"\[([\w,]+)\]", " ".join(words))
    assert found, f"no extras: {words}"
    extras = set(found[1].split(","))
    assert extras <= set(project["optional-dependencies"]), f"no such extra: {extras}"
    assert not {"cpu", "gpu"} <= extras


def _check_script(words: list[str]) -> None:
    """A script of ours, and every option that is given to it, by what it or a module beside it adds to its parser."""
    if words[0] == "-m":
        words = [f"{words[1].replace('.', '/')}/__main__.py", *words[2:]]
    script = ROOT / words[0]
    assert script.is_file(), f"no such file: {words[0]}"
    tree = ast.parse(script.read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    beside = [script.parent / f"{module.rpartition('.')[2]}.py" for module in modules]
    files = [script, *(file for file in beside if file.is_file())]
    options = {option for file in files for option in _options(ast.parse(file.read_text(encoding="utf-8")))}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= options, f"{words[0]} has no {used - options}"


def _options(tree: ast.Module) -> Iterator[str]:
    """What ``add_argument`` is given, also in a loop over names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))
        elif isinstance(node, ast.For) and "add_argument(f'--" in ast.unparse(node):
            yield from (f"--{one.value}" for one in ast.walk(node.iter) if isinstance(one, ast.Constant))


@pytest.mark.parametrize(
    "line",
    [
        "sot-filter rum my.yaml",
        "sot-filter run my.yaml --fast",
        "sot-filter run",
        "sot-filter refs audti my.yaml",
        "sot-filter select my.yaml --retention most",
        "make demos",
        "pip install 'sot-filter[everything]'",
        "hf download --nothing",
        "python benchmarks/nothing.py",
        "python benchmarks/stress.py --nothing",
        "python -m benchmarks.nothing",
        "python -m benchmarks.miniature --nothing",
    ],
)
def test_a_command_that_is_wrong_fails(line: str) -> None:
    command = commands_of(Block("sh", line, 1))[0]
    with pytest.raises((AssertionError, click.UsageError)):
        check(command)


def test_a_program_that_no_test_knows_fails() -> None:
    with pytest.raises(AssertionError, match="no test knows"):
        commands_of(Block("sh", "curl x", 1))


@pytest.mark.parametrize(
    "text", ["select: {retnetion: 1}", "probe: {files: x}", "name: x\nlicence: x\nfiles: x\nsampel: 1"]
)
def test_yaml_that_is_wrong_fails(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        as_model(Block("yaml", text, 1))


def test_the_lines_and_figures_that_pages_name_are_there(finished: Sandbox) -> None:
    # start.md: what to read first; recipes.md: what a gate reads.
    lines = re.findall(r"^\| `([a-z ]+)` \|", (ROOT / "docs/start.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 4
    assert all(line in finished.said for line in lines)
    figures = re.findall(
        r"^ +\| ((?:`[\w.]+`[ of]*)+) \|", (ROOT / "docs/recipes.md").read_text("utf-8"), re.MULTILINE
    )
    summary = json.loads((finished.folder / "out/mine/summary.json").read_text(encoding="utf-8"))
    for path in re.findall(r"`([\w.]+)`", " ".join(figures)):
        functools.reduce(operator.getitem, path.split("."), summary)
    assert len(figures) == 4
    # reading.md: the sections of the page.
    sections = re.findall(r"^\| ([A-Z][^|]+) \|", (ROOT / "docs/reading.md").read_text(encoding="utf-8"), re.MULTILINE)
    page = (ROOT / "sot_filter/report/assets/page.html.j2").read_text(encoding="utf-8")
    assert len(sections) == 9
    for section in sections:
        assert re.search(rf"<h2[^>]*>.*{section}.*</h2>", page), section


def test_a_command_that_ends_badly_fails(sandbox: Sandbox) -> None:
    command = Command(("sot-filter", "explain", "my.yaml", "default/train/train-1.jsonl#9999"), (), 1)
    with pytest.raises(AssertionError, match="ended with 2"):
        run(command, sandbox, "here")
