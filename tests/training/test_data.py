import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig

from sot_filter.errors import ModelError, SourceError
from sot_filter.training.config import WeightedRows
from sot_filter.training.data import Loaded, load_rows, prepare_rows
from sot_filter.training.origin import Origin
from sot_filter.training.trainer import WeightedTrainer
from tests.training.templates import FORGETFUL, PLAIN, REFUSING, with_template
from tests.training.tiny_runs import a_trainer, some_rows

Row = dict[str, Any]


def chats(count: int, **columns: list[Any]) -> list[Row]:
    """Rows of one exchange, with more columns."""
    return [
        {
            "sot_row_id": f"default/train/rows.jsonl#{i}",
            "messages": [{"role": "user", "content": f"ask {i}"}, {"role": "assistant", "content": f"say {i}"}],
            **{name: values[i] for name, values in columns.items()},
        }
        for i in range(count)
    ]


def prepared(model: Path, rows: list[Row], template: str | None = PLAIN, **settings: Any) -> Loaded:
    origin = Origin(Dataset.from_list(rows), "rows", None, None, "train")
    return prepare_rows(with_template(model, template), origin, **settings)


def refusal(model: Path, rows: list[Row], **settings: Any) -> str:
    with pytest.raises(SourceError) as error:
        prepared(model, rows, **settings)
    assert "\n" not in str(error.value)
    assert "ask" not in str(error.value)
    return str(error.value)


def test_rows_become_examples_in_their_order(tiny_chat: Path) -> None:
    loaded = prepared(tiny_chat, chats(3, sot_weight=[0.5, 2.0, 1.0]), weight="sot_weight")
    tokenizer = with_template(tiny_chat, PLAIN)
    assert loaded.rows.column_names == ["input_ids", "labels", "sot_weight", "sot_row_id"]
    assert loaded.rows["sot_weight"][:] == [0.5, 2.0, 1.0]
    assert loaded.rows["sot_row_id"][:] == [f"default/train/rows.jsonl#{i}" for i in range(3)]
    for i, row in enumerate(loaded.rows):
        text = f"<s><|start|>user\nask {i}<|end|>\n<|start|>assistant\nsay {i}<|end|>\n"
        assert tokenizer.decode(row["input_ids"]) == text
        assert tokenizer.decode([label for label in row["labels"] if label != -100]) == f"say {i}<|end|>\n"
    report = loaded.report
    assert (report.rows, report.used, report.weight, report.left_out) == (3, 3, 3.5, {})
    assert report.effective_rows == pytest.approx(3.5**2 / 5.25)
    assert (report.format, report.template, report.stops) == ("messages", "prefixes", True)
    assert report.tokens == sum(len(row["input_ids"]) for row in loaded.rows)
    assert report.learned == sum(label != -100 for row in loaded.rows for label in row["labels"])


def test_every_row_is_used_or_left_out_for_one_reason(tiny_chat: Path) -> None:
    rows = chats(8, sot_weight=[1.0, 0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], sot_keep=[True] * 7 + [False])
    rows[2]["messages"] = []
    rows[3]["messages"] = rows[3]["messages"][:1]
    rows[4]["messages"][0]["role"] = None
    rows[5]["messages"].insert(0, {"role": "system", "content": "a story"})
    rows[6]["messages"][0]["content"] = "bread " * 60
    loaded = prepared(tiny_chat, rows, REFUSING, weight="sot_weight", keep="sot_keep", max_length=64)
    left_out = {reason: (one.rows, one.weight) for reason, one in loaded.report.left_out.items()}
    assert left_out == {
        "not_kept": (1, 64.0),
        "zero_weight": (1, 0.0),
        "empty": (1, 2.0),
        "no_response": (1, 4.0),
        "invalid": (1, 8.0),
        "refused": (1, 16.0),
        "cut_away": (1, 32.0),
    }
    assert loaded.report.left_out["refused"].first == rows[5]["sot_row_id"]
    assert loaded.report.left_out["refused"].why == "no system turn"
    assert loaded.report.left_out["invalid"].why == "a turn has no role"
    assert loaded.rows["sot_row_id"][:] == [rows[0]["sot_row_id"]]
    assert json.loads(json.dumps(loaded.report.as_dict()))["left_out"]["not_kept"]["rows"] == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 8, width=32), st.booleans(), st.integers(0, 30)), min_size=1, max_size=12),
    st.integers(12, 40),
)
def test_counts_and_weights_add_up(tiny_chat: Path, given_rows: list[Any], max_length: int) -> None:
    weights, kept, words = map(list, zip(*given_rows, strict=True))
    rows = chats(len(weights), w=weights, k=kept)
    for row, count in zip(rows, words, strict=True):
        row["messages"][1]["content"] = "bread " * count
    try:
        report = prepared(tiny_chat, rows, weight="w", keep="k", max_length=max_length).report
    except SourceError:
        return
    assert report.used + sum(one.rows for one in report.left_out.values()) == report.rows == len(rows)
    assert report.weight + math.fsum(one.weight for one in report.left_out.values()) == pytest.approx(sum(weights))
    whole = prepared(tiny_chat, rows, weight="w", keep="k", max_length=10**6).report
    gone = whole.used - report.used
    assert gone == report.left_out["cut_away"].rows if "cut_away" in report.left_out else gone == 0


def test_what_is_cut_off_is_counted(tiny_chat: Path) -> None:
    rows = chats(3)
    rows[1]["messages"][1]["content"] = "bread water salt flour please tell me"
    rows[2]["messages"][0]["content"] = "bread " * 40
    whole = prepared(tiny_chat, rows)
    lengths = [len(row["input_ids"]) for row in whole.rows]
    limit = lengths[1] - 2
    assert lengths[0] <= limit < lengths[1] < lengths[2]
    loaded = prepared(tiny_chat, rows, max_length=limit)
    assert (whole.report.cut_rows, whole.report.cut_tokens) == (0, 0)
    assert (loaded.report.cut_rows, loaded.report.cut_tokens) == (1, 2)
    assert loaded.report.left_out["cut_away"].rows == 1
    assert [len(row["input_ids"]) for row in loaded.rows] == [lengths[0], limit]
    assert loaded.report.tokens == lengths[0] + limit
    kept = [label for row in loaded.rows for label in row["labels"] if label != -100]
    assert loaded.report.learned == len(kept)


def test_a_keep_column_alone_is_top_k(tiny_chat: Path) -> None:
    loaded = prepared(tiny_chat, chats(4, sot_keep=[True, False, True, False]), keep="sot_keep")
    assert loaded.rows["sot_weight"][:] == [1.0, 1.0]
    assert loaded.report.left_out["not_kept"].rows == 2
    assert loaded.report.effective_rows == 2.0


def test_rows_without_an_id_go_by_their_place(tiny_chat: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "sot_row_id"} for row in chats(4, w=[0.0, 1.0, 0.0, 1.0])]
    loaded = prepared(tiny_chat, rows, weight="w")
    assert loaded.rows["sot_row_id"][:] == ["train#1", "train#3"]
    assert loaded.report.left_out["zero_weight"].first == "train#0"


def test_ids_are_found_beside_weights_of_another_prefix(tiny_chat: Path) -> None:
    rows = [{"mine_row_id": f"mine#{i}", **row} for i, row in enumerate(chats(2, mine_weight=[1.0, 1.0]))]
    assert prepared(tiny_chat, rows, weight="mine_weight").rows["sot_row_id"][:] == ["mine#0", "mine#1"]


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"prompt": "ask", "completion": "say"}, "prompt_completion"),
        ({"question": "ask", "answer": "say"}, "prompt_completion"),
        ({"instruction": "ask", "input": "", "output": "say"}, "alpaca"),
        ({"conversations": [{"from": "human", "value": "ask"}, {"from": "gpt", "value": "say"}]}, "sharegpt"),
        ({"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "say"}]}, "messages"),
    ],
)
def test_any_format_becomes_the_same_tokens(tiny_chat: Path, row: Row, format: str) -> None:
    loaded = prepared(tiny_chat, [row])
    wanted = prepared(tiny_chat, [{"prompt": "ask", "completion": "say"}])
    assert loaded.report.format == format
    assert loaded.rows[0] == wanted.rows[0]
    assert loaded.report.digest == wanted.report.digest


def test_columns_can_be_named(tiny_chat: Path) -> None:
    loaded = prepared(tiny_chat, [{"a": "ask", "b": "say"}], columns={"prompt": "a", "completion": "b"})
    assert loaded.report.columns == {"prompt": "a", "completion": "b"}


def test_raw_text_is_learned_as_a_whole(tiny_chat: Path) -> None:
    loaded = prepared(tiny_chat, [{"text": "flour water salt"}], template=None)
    assert loaded.rows[0]["labels"] == loaded.rows[0]["input_ids"]
    assert (loaded.report.format, loaded.report.template, loaded.report.stops) == ("text", "plain text", True)


def test_a_first_token_is_never_learned(tiny_chat: Path) -> None:
    rows = [{"text": "flour water salt"}, {"text": "bread"}]
    report = prepared(tiny_chat, rows).report
    assert report.learned == report.tokens - 2
    assert "cut_away: 2" in refusal(tiny_chat, rows, max_length=1)
    chat = prepared(tiny_chat, chats(3), completion_only=False).report
    assert chat.learned == chat.tokens - 3


def test_the_digest_is_that_of_what_is_learned(tiny_chat: Path) -> None:
    rows = chats(4, w=[1.0, 0.0, 1.0, 1.0])
    same = prepared(tiny_chat, rows, weight="w").report.digest
    assert prepared(tiny_chat, rows, weight="w").report.digest == same
    rows[1]["messages"][1]["content"] = "otherwise"
    assert prepared(tiny_chat, rows, weight="w").report.digest == same
    for change in ({"w": 1.5}, {"sot_row_id": "another#1"}, {"messages": chats(9)[8]["messages"]}):
        assert prepared(tiny_chat, [{**rows[0], **change}, *rows[1:]], weight="w").report.digest != same


@pytest.mark.parametrize("template", [PLAIN, None])
def test_a_trainer_takes_them_as_they_are(tiny_chat: Path, tmp_path: Path, template: str | None) -> None:
    """Its batches hold our tokens, labels and weights: what TRL itself makes of rows of one exchange."""
    rows = some_rows(6)
    weights = [0.5, 1.0, 2.0, 0.0, 3.0, 1.5]
    weighted = [{**row, "sot_weight": weight} for row, weight in zip(rows, weights, strict=True)]
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat)
    if template:
        origin = Origin(Dataset.from_list(weighted), "rows", None, None, "train")
        ours = prepare_rows(tokenizer, origin, weight="sot_weight", max_length=40).rows
        theirs = a_trainer(tiny_chat, [row for row in weighted if row["sot_weight"]], tmp_path, max_length=40)
    else:
        texts = [{"text": row["completion"][0]["content"], "sot_weight": row["sot_weight"]} for row in weighted]
        origin = Origin(Dataset.from_list(texts), "rows", None, None, "train")
        ours = prepare_rows(tokenizer, origin, weight="sot_weight", max_length=40).rows
        theirs = a_trainer(tiny_chat, [row for row in texts if row["sot_weight"]], tmp_path, max_length=40)
    settings = SFTConfig(
        output_dir=str(tmp_path), max_length=40, use_cpu=True, bf16=False, report_to=[], disable_tqdm=True, max_steps=2
    )
    torch.manual_seed(0)
    trainer = WeightedTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_chat, dtype=torch.float32),
        settings,
        ours,
        processing_class=tokenizer,
    )
    for name in ("input_ids", "labels", "sot_weight"):
        assert trainer.train_dataset[name][:] == theirs.train_dataset[name][:] == ours[name][:]
    trainer.train()
    assert trainer.state.global_step == 2


def test_a_weight_column_that_is_not_there(tiny_chat: Path) -> None:
    said = refusal(tiny_chat, chats(2, other=[1.0, 1.0]), weight="sot_weight")
    assert said == (
        "expected a column 'sot_weight' with each row's weight; got columns messages, other, sot_row_id. "
        "Set rows.weight to the column that has it, or to null."
    )


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, None, 2.0], "null in 1 of 3 rows: default/train/rows.jsonl#1"),
        ([None, None, None], "null in 3 of 3 rows"),
        ([1.0, float("nan"), 2.0], "NaN in 1 of 3 rows: default/train/rows.jsonl#1"),
        ([1.0, 2.0, float("inf")], "an infinite weight in 1 of 3 rows: default/train/rows.jsonl#2"),
        ([1.0, 1e-44, 2.0], "too small for single precision in 1 of 3 rows: default/train/rows.jsonl#1"),
        ([1.0, 1e39, 2.0], "an infinite weight in 1 of 3 rows: default/train/rows.jsonl#1"),
        ([-1.0, 2.0, -0.5], "a negative weight in 2 of 3 rows: default/train/rows.jsonl#0, default"),
        ([0.0, 0.0, 0.0], "none of 3 has one"),
        (["1", "2", "3"], "a column of string"),
        ([True, False, True], "a column of bool"),
        ([[1.0], [2.0], [3.0]], "a column of list"),
    ],
)
def test_weights_that_no_loss_can_be_taken_with(tiny_chat: Path, weights: list[Any], said: str) -> None:
    assert said in refusal(tiny_chat, chats(3, sot_weight=weights), weight="sot_weight")


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ([True, None, True], "null in 1 of 3 rows"),
        ([False, False, False], "none of 3"),
        (["yes", "no", "yes"], "a column of string"),
        ([0, 1, 2], "another number than 0 or 1 in 1 of 3 rows: default/train/rows.jsonl#2"),
    ],
)
def test_a_keep_column_that_does_not_say(tiny_chat: Path, kept: list[Any], said: str) -> None:
    assert said in refusal(tiny_chat, chats(3, sot_keep=kept), keep="sot_keep")


def test_kept_rows_that_have_no_weight(tiny_chat: Path) -> None:
    rows = chats(2, w=[1.0, 0.0], k=[False, True])
    assert "keeps with a weight above 0" in refusal(tiny_chat, rows, weight="w", keep="k")


def test_no_more_than_a_few_rows_are_named(tiny_chat: Path) -> None:
    said = refusal(tiny_chat, chats(50, w=[-1.0] * 50), weight="w")
    assert "50 of 50" in said
    assert said.count("rows.jsonl#") == 5


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([{"a": 1}], {}, "columns of a known format"),
        ([{"sot_weight": 1.0, "sot_row_id": "x#1"}], {}, "sidecar"),
        ([{"text": "a"}], {"format": "chat"}, "'chat'"),
        ([{"text": "a"}], {"columns": {"prompt": "nope"}}, "nope"),
        ([{"text": "a"}], {"columns": {"nope": "text"}}, "nope"),
        ([{"text": ""}], {}, "none of 1 (empty: 1, the first train#0)"),
        ([{"prompt": "x", "completion": ""}], {}, "no_response: 1"),
        ([{"messages": "no turns"}], {}, "its turns are text"),
    ],
)
def test_rows_with_nothing_to_learn(tiny_chat: Path, rows: list[Row], settings: Any, said: str) -> None:
    assert said in refusal(tiny_chat, rows, **settings)


def test_all_rows_refused_say_why(tiny_chat: Path) -> None:
    rows = [{"messages": [{"role": "system", "content": "a"}, *row["messages"]]} for row in chats(2)]
    assert "refused: 2, the first train#0 (no system turn)" in refusal(tiny_chat, rows, template=REFUSING)


def test_a_max_length_that_leaves_nothing(tiny_chat: Path) -> None:
    assert "cut_away: 2" in refusal(tiny_chat, chats(2), max_length=4)


def test_a_template_whose_turns_cannot_be_told_apart_names_the_row(tiny_chat: Path) -> None:
    rows = chats(600)
    rows[400]["messages"] *= 2
    with pytest.raises(ModelError, match=r"turn 2 of 4, in row default/train/rows\.jsonl#400"):
        prepared(tiny_chat, rows, FORGETFUL)


def test_conversations_need_a_chat_template(tiny_chat: Path) -> None:
    with pytest.raises(ModelError, match="a model with a chat template"):
        prepared(tiny_chat, chats(1), template=None)


def test_a_recipe_s_rows_are_arguments(tiny_chat: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in chats(3, sot_weight=[1.0, 0.5, 0.0])))
    recipe = WeightedRows(files=str(path))
    loaded = load_rows(with_template(tiny_chat, PLAIN), **recipe.model_dump(), max_length=64, completion_only=True)
    assert loaded.report.weight == 1.5
    assert loaded.report.source == str(path)
    assert loaded.rows["sot_row_id"][:] == [row["sot_row_id"] for row in chats(2)]
