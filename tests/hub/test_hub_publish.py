"""The whole way: a dataset is pushed, weighed by the command line, published, pulled back, and trained on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from sot_filter.steps.commit import for_others
from tests.hub.client import MEMBER, STRANGER, Client, hub_environment, sot_filter
from tests.hub.repository import Access, Commit
from tests.hub.rows import as_jsonl, pairs
from tests.hub.stand_in import StandIn

TRAIN, TEST = pairs(40, "flour"), pairs(5, "salt")
SOURCE, TARGET = "org/baking-book", "org/baking-book-sot"


class Runs:
    """The command line in one folder."""

    def __init__(self, hub: StandIn, folder: Path, encoder: dict[str, bytes]) -> None:
        self.hub, self.folder = hub, folder
        (folder / "model").mkdir()
        for name, content in encoder.items():
            (folder / "model" / name).write_bytes(content)
        (folder / "safe.jsonl").write_bytes(as_jsonl(pairs(12, "bread")))
        (folder / "harmful.jsonl").write_bytes(as_jsonl(pairs(12, "heat")))

    def write(self, name: str, **output: Any) -> None:
        """Write a pipeline file of this name."""
        pipeline = {
            "name": name,
            "input": {"dataset": SOURCE, "revision": "main", "split": "train"},
            "references": {"safe": "safe.jsonl", "harmful": "harmful.jsonl"},
            "embed": {"model": "model", "device": "cpu"},
            "output": output,
        }
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(pipeline))

    def __call__(self, *arguments: str, token: str | None = MEMBER, **more: str) -> CompletedProcess[str]:
        environment = hub_environment(self.hub.url, self.folder / "home", token, **more)
        return sot_filter(environment, *arguments, cwd=self.folder)


@pytest.fixture(scope="module")
def runs(hub: StandIn, member: Client, encoder: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A dataset of two splits is on the Hub, by `datasets`' own hand, with a card that says more than it does."""
    member(push, SOURCE, {"train": TRAIN, "test": TEST})
    repository = hub.repositories["datasets", SOURCE]
    card = repository.commits[repository.branches["main"]].files["README.md"].content.decode()
    said = card.replace("---\n", "---\nlicense: cc-by-4.0\nlanguage: [en]\n", 1)
    repository.commit({"README.md": f"{said}\n# The baking book\n\nAsk Ann before you change it.\n".encode()})
    return Runs(hub, tmp_path_factory.mktemp("publish"), encoder)


def push(repo: str, splits: dict[str, list[dict[str, object]]]) -> None:
    from datasets import Dataset, DatasetDict

    DatasetDict({name: Dataset.from_list(rows) for name, rows in splits.items()}).push_to_hub(repo)


def pull(repo: str, revision: str, name: str | None = None, split: str = "train") -> tuple[list[Any], list[Any], Any]:
    """Rows read whole and streamed, and their features as plain words."""
    from datasets import load_dataset

    whole = load_dataset(repo, name, split=split, revision=revision)
    streamed = load_dataset(repo, name, split=split, revision=revision, streaming=True)
    return list(whole), list(streamed), {column: str(feature) for column, feature in whole.features.items()}


def head(hub: StandIn, repo: str, branch: str = "main") -> Commit:
    repository = hub.repositories["datasets", repo]
    found = repository.at(branch)
    assert found is not None
    return found


def commits_to(hub: StandIn, repo: str) -> list[str]:
    return [served.path for served in hub.served if f"{repo}/commit/" in served.path]


@pytest.fixture(scope="module")
def published(runs: Runs, hub: StandIn) -> Commit:
    """A new repository with the new columns."""
    before = dict(hub.repositories["datasets", SOURCE].branches)
    runs.write("book", hub={"repo": TARGET})
    said = runs("validate", "book.yaml")
    assert (said.returncode, TARGET in said.stdout, "private" in said.stdout) == (0, True, True), said
    assert ("datasets", TARGET) not in hub.repositories
    ended = runs("run", "book.yaml")
    assert ended.returncode == 0, ended.stderr
    assert f"{TARGET}/commit/{head(hub, TARGET).sha}\n" in ended.stdout
    assert hub.repositories["datasets", SOURCE].branches == before
    return head(hub, TARGET)


def test_the_dataset_comes_back_with_its_columns_on_the_right_rows(
    published: Commit, runs: Runs, hub: StandIn, member: Client
) -> None:
    whole, streamed, features = member(pull, TARGET, published.sha)
    assert whole == streamed
    assert [{k: row[k] for k in ("prompt", "completion")} for row in whole] == TRAIN
    (path,) = {row["sot_row_id"].rpartition("#")[0] for row in whole}
    assert [row["sot_row_id"] for row in whole] == [f"{path}#{n}" for n in range(len(TRAIN))]
    assert features["sot_weight"] == "Value('float32')"
    assert features["sot_keep"] == "Value('bool')"
    kept = [row["sot_weight"] for row in whole if row["sot_keep"]]
    assert sum(kept) == pytest.approx(len(kept), rel=1e-5)
    local = {row["sot_row_id"]: row for row in rows_of(runs.folder / "out/book")}
    assert {row["sot_row_id"]: row for row in whole} == local


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("*.parquet")):
        yield from pq.read_table(path).to_pylist()


def test_it_is_one_commit_of_a_private_repository(published: Commit, hub: StandIn) -> None:
    assert hub.repositories["datasets", TARGET].access == "private"
    assert len(commits_to(hub, TARGET)) == 1
    assert published.parent is not None


def test_the_card_says_where_it_comes_from(published: Commit) -> None:
    text = published.files["README.md"].content.decode()
    head = yaml.safe_load(text.split("---\n")[1])
    assert (head["license"], head["language"], head["source_datasets"]) == ("cc-by-4.0", ["en"], [SOURCE])
    assert "Ask Ann before you change it." in text
    assert "](sot/book/map.png)" in text
    assert {"sot/book/map.png", "sot/book/summary.json", "sot/book/pipeline.yaml"} <= published.files.keys()


def test_nothing_of_this_machine_is_published(published: Commit, runs: Runs) -> None:
    for path, file in published.files.items():
        for secret in (str(runs.folder), MEMBER):
            assert secret.encode() not in file.content, path


def test_the_token_is_in_no_file_of_the_run(published: Commit, runs: Runs) -> None:
    files = [path for path in runs.folder.rglob("*") if path.is_file()]
    assert [path for path in files if MEMBER.encode() in path.read_bytes()] == []


def test_the_same_command_again_changes_nothing(published: Commit, runs: Runs, hub: StandIn) -> None:
    before = len(hub.served)
    ended = runs("run", "book.yaml")
    assert ended.returncode == 0, ended.stderr
    assert head(hub, TARGET) == published
    assert [
        served for served in hub.served[before:] if served.method in ("PUT", "POST") and "/commit/" in served.path
    ] == []


def test_the_published_settings_repeat_the_run(published: Commit, runs: Runs, hub: StandIn) -> None:
    settings = yaml.safe_load(published.files["sot/book/pipeline.yaml"].content)
    assert settings["input"]["revision"] == head(hub, SOURCE).sha
    assert not {"work_dir", "executor"} & settings.keys()
    # What lay on this machine is named without its folders; here all of it lies in the working folder.
    (runs.folder / "again.yaml").write_bytes(published.files["sot/book/pipeline.yaml"].content)
    elsewhere = ("--set", "work_dir=runs/again", "--set", "output={folder: out/again}")
    ended = runs("run", "again.yaml", *elsewhere)
    assert ended.returncode == 0, ended.stderr
    assert list(rows_of(runs.folder / "out/again")) == list(rows_of(runs.folder / "out/book"))


def one_step(repo: str, revision: str, folder: str) -> tuple[float, float]:
    """The weighted loss of a tiny model before and after a step on the kept rows, each row's by its weight."""
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = load_dataset(repo, split="train", revision=revision, streaming=True).filter(lambda row: row["sot_keep"])
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    batch = [(tokenizer(row["prompt"] + row["completion"], return_tensors="pt"), row) for row in rows.take(4)]
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-2)

    def loss() -> torch.Tensor:
        losses = [model(**tokens, labels=tokens["input_ids"]).loss * row["sot_weight"] for tokens, row in batch]
        return torch.stack(losses).sum() / sum(row["sot_weight"] for _, row in batch)

    before = loss()
    before.backward()
    optimiser.step()
    return float(before), float(loss())


def test_a_step_is_trained_on_it(published: Commit, member: Client, tmp_path: Path) -> None:
    from tests.tiny_models import make_tiny_decoder

    folder = make_tiny_decoder(tmp_path / "decoder")
    before, after = member(one_step, TARGET, published.sha, str(folder))
    assert after < before


@pytest.fixture(scope="module")
def sidecar(published: Commit, runs: Runs, hub: StandIn) -> Commit:
    """A pull request on the source's own repository, with the columns in a configuration of their own."""
    before = dict(hub.repositories["datasets", SOURCE].branches)
    runs.write("beside", mode="sidecar", hub={"repo": SOURCE, "create_pr": True})
    ended = runs("run", "beside.yaml")
    assert ended.returncode == 0, ended.stderr
    repository = hub.repositories["datasets", SOURCE]
    assert {name: repository.branches[name] for name in before} == before
    return head(hub, SOURCE, "refs/pr/1")


def attached(repo: str, revision: str) -> list[tuple[str, float]]:
    from datasets import load_dataset

    from sot_filter.weights import attach_weights, load_weights

    rows = load_dataset(repo, split="train", revision=revision).shuffle(seed=3)
    return [(row["prompt"], row["sot_weight"]) for row in attach_weights(rows, load_weights(repo, revision=revision))]


def test_a_sidecar_leaves_the_source_as_it_is(
    sidecar: Commit, published: Commit, hub: StandIn, member: Client
) -> None:
    repository = hub.repositories["datasets", SOURCE]
    assert sidecar.parent == repository.branches["main"]
    main = repository.commits[repository.branches["main"]].files
    assert {path: sidecar.files[path] for path in main if path != "README.md"} == {
        path: file for path, file in main.items() if path != "README.md"
    }
    for split, rows in (("train", TRAIN), ("test", TEST)):
        whole, streamed, _ = member(pull, SOURCE, sidecar.sha, None, split)
        assert (whole, streamed) == (rows, rows)
    columns, _, _ = member(pull, SOURCE, sidecar.sha, "sot")
    assert len(columns) == len(TRAIN)
    weights = {row["prompt"]: row["sot_weight"] for row in member(pull, TARGET, published.sha)[0]}
    assert dict(member(attached, SOURCE, sidecar.sha)) == weights


REFUSED = {
    "the source's own main": ({"repo": SOURCE}, MEMBER, 2, "branch"),
    "no token": ({"repo": "org/other"}, None, 5, "HF_TOKEN"),
    "no write access": ({"repo": TARGET}, STRANGER, 5, "may write"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_published_is_refused_before_anything_is_spent(
    case: str, published: Commit, runs: Runs, hub: StandIn
) -> None:
    target, token, code, said = REFUSED[case]
    runs.write("refused", hub=target)
    before = {key: dict(repository.branches) for key, repository in hub.repositories.items()}
    ended = runs("run", "refused.yaml", token=token)
    assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended.stderr
    assert said in ended.stderr
    assert not (runs.folder / "runs/refused").exists()
    assert {key: dict(repository.branches) for key, repository in hub.repositories.items()} == before


def test_a_hub_that_fails_at_the_end_gets_its_commit_later(published: Commit, runs: Runs, hub: StandIn) -> None:
    runs.write("later", hub={"repo": "org/baking-later", "private": False})
    with hub.fault("POST", r".*/org/baking-later/commit/.*", status=403, times=50):
        ended = runs("run", "later.yaml")
    assert ended.returncode == 5, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("HubError: ")
    assert "README.md" not in head(hub, "org/baking-later").files
    before = len(hub.served)
    ended = runs("run", "later.yaml")
    assert ended.returncode == 0, ended.stderr
    assert [served.path for served in hub.served[before:] if served.method == "PUT"] == []
    summary = json.loads(head(hub, "org/baking-later").files["sot/later/summary.json"].content)
    assert summary["rows"]["total"] == len(TRAIN)


def test_a_run_that_is_done_again_from_nothing_finds_its_push_done(
    published: Commit, runs: Runs, hub: StandIn
) -> None:
    for folder in ("runs/book", "out/book"):
        shutil.rmtree(runs.folder / folder)
    before = len(commits_to(hub, TARGET))
    ended = runs("run", "book.yaml")
    assert ended.returncode == 0, ended.stderr
    assert (head(hub, TARGET), len(commits_to(hub, TARGET))) == (published, before)
    assert published.sha in ended.stdout


def test_an_output_that_is_deleted_before_the_commit_is_written_and_committed(
    published: Commit, runs: Runs, hub: StandIn
) -> None:
    runs.write("lost", hub={"repo": "org/baking-lost"})
    with hub.fault("POST", r".*/org/baking-lost/commit/.*", status=403, times=50):
        assert runs("run", "lost.yaml").returncode == 5
    shutil.rmtree(runs.folder / "out/lost")
    ended = runs("run", "lost.yaml")
    assert ended.returncode == 0, ended.stderr
    assert len(list(rows_of(runs.folder / "out/lost"))) == len(TRAIN)
    assert published.files.keys() >= {path for path in head(hub, "org/baking-lost").files if path.endswith(".parquet")}
    before = head(hub, "org/baking-lost")
    shutil.rmtree(runs.folder / "out/lost")
    ended = runs("run", "lost.yaml", token=MEMBER)
    assert ended.returncode == 0, ended.stderr
    assert (runs.folder / "out/lost/summary.json").exists()
    assert head(hub, "org/baking-lost") == before


def test_another_cut_is_a_further_commit_and_no_cut_without_a_token(
    published: Commit, runs: Runs, hub: StandIn, member: Client
) -> None:
    runs.write("cut", hub={"repo": "org/baking-cut"})
    assert runs("run", "cut.yaml").returncode == 0
    first = head(hub, "org/baking-cut")
    summary = (runs.folder / "out/cut/summary.json").read_bytes()
    ended = runs("select", "cut.yaml", "--top-k", "7", token=None)
    assert (ended.returncode, ended.stderr.count("\n"), "HF_TOKEN" in ended.stderr) == (5, 1, True), ended.stderr
    assert (runs.folder / "out/cut/summary.json").read_bytes() == summary
    ended = runs("select", "cut.yaml", "--top-k", "7")
    assert ended.returncode == 0, ended.stderr
    second = head(hub, "org/baking-cut")
    assert second.parent == first.sha
    assert sum(row["sot_keep"] for row in member(pull, "org/baking-cut", second.sha)[0]) == 7


@pytest.mark.parametrize("access", ["private", "gated", "open"])
@pytest.mark.parametrize(("private", "mode"), [(False, "columns"), (True, "columns"), (False, "sidecar")])
def test_rows_that_not_all_may_read_are_not_made_public_without_a_word(
    access: Access, private: bool, mode: str, published: Commit, runs: Runs, hub: StandIn
) -> None:
    hub.create("datasets", f"org/{access}-book", {"train.jsonl": as_jsonl(TRAIN)}, access, MEMBER)
    runs.write("shown", mode=mode, hub={"repo": "org/shown", "private": private})
    source = ("--set", f"input.dataset=org/{access}-book")
    ended = runs("validate", "shown.yaml", *source)
    assert ended.returncode == 0, ended.stderr
    told = [f"! The rows of org/{access}-book are {access}; in org/shown everybody can read them."]
    assert ended.stderr.splitlines() == (told if access != "open" and not private and mode == "columns" else [])


def test_settings_and_facts_for_others_have_no_folder_and_no_time_of_ours() -> None:
    mine = {"files": ["/home/ann lee/My Data/a b.jsonl"], "model": "file:///srv/my models/e5", "seconds": 3.2, "n": 1}
    said = for_others({"a": mine, "description": "/ or - at will", "uri": "/home/x"})
    assert said == {"a": {"files": ["a b.jsonl"], "model": "e5", "n": 1}, "description": "/ or - at will"}


def test_what_opens_a_source_is_not_published() -> None:
    signed = "https://ann:secret@store.org/rows.jsonl?signature=abc#x"
    said = for_others({"input": {"files": [signed], "homepage": "https://a.org/?q=1"}, "uri": signed})
    assert said == {"input": {"files": ["https://store.org/rows.jsonl"], "homepage": "https://a.org/?q=1"}}
