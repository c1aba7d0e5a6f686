from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from sot_filter.errors import ModelError, SourceError
from sot_filter.training.render import IGNORED
from sot_filter.training.triples import read_triples
from tests.tiny_models import make_tiny_decoder
from tests.training.tiny_triples import some_triples, write


@pytest.fixture(scope="module")
def tokenizer(tiny_chat: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_chat)


def test_only_the_answer_is_compared_not_what_was_said_before(tmp_path: Path, tokenizer: Any) -> None:
    prompt = [
        {"role": "user", "content": "how"},
        {"role": "assistant", "content": "bread"},
        {"role": "user", "content": "tell"},
    ]
    file = write(tmp_path / "t.jsonl", [{"prompt": prompt, "safe": "sorry", "unsafe": "heat the sea"}])
    triples = read_triples(file, tokenizer)
    for tokens, answer in ((triples.safe[0], "sorry"), (triples.unsafe[0], "heat the sea")):
        assert "bread" in tokenizer.decode(tokens.input_ids)
        learned = [label for label in tokens.labels if label != IGNORED]
        assert tokenizer.decode(learned) == f"{answer}<|end|>\n"
        assert tokens.labels[-len(learned) :] == learned


def test_texts_and_messages_are_the_same_triple(tmp_path: Path, tokenizer: Any) -> None:
    texts = {"prompt": "how", "safe": "sorry", "unsafe": "wait"}
    roles = {"prompt": "user", "safe": "assistant", "unsafe": "assistant"}
    messages = {field: [{"role": roles[field], "content": text}] for field, text in texts.items()}
    read = [
        read_triples(write(tmp_path / "t.jsonl", [one | {"category": "any"}]), tokenizer) for one in (texts, messages)
    ]
    assert read[0] == read[1]
    other = read_triples(write(tmp_path / "t.jsonl", [texts | {"unsafe": "heat"}]), tokenizer)
    assert other.digest != read[0].digest


GOOD = '{"prompt": "how", "safe": "sorry", "unsafe": "wait"}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "expected a JSON object; got something else in line 3"),
        ("[1]", "expected a JSON object; got list in line 3"),
        ('{"prompt": "how", "safe": "sorry"}', "got no unsafe in line 3"),
        ('{"prompt": "how", "safe": null, "unsafe": "wait"}', "got no safe in line 3"),
        (
            '{"prompt": 1, "safe": "sorry", "unsafe": "wait"}',
            "messages of role and content in prompt; got int in line 3",
        ),
        ('{"prompt": [], "safe": "sorry", "unsafe": "wait"}', "in prompt; got an empty list in line 3"),
        ('{"prompt": ["how"], "safe": "sorry", "unsafe": "wait"}', "in prompt; got a list of str in line 3"),
        ('{"prompt": [{"role": "user"}], "safe": "sorry", "unsafe": "wait"}', "without one of them as text in line 3"),
        ('{"prompt": "how", "safe": " ", "unsafe": "wait"}', "expected text in safe; got none in line 3"),
        ('{"prompt": "how", "safe": "\\ud800", "unsafe": "wait"}', "got half a surrogate pair in line 3"),
        (
            '{"prompt": "how", "safe": "wait", "unsafe": "wait "}',
            "expected two answers; got the same one twice in line 3",
        ),
        (
            '{"prompt": [{"role": "assistant", "content": "how"}], "safe": "sorry", "unsafe": "wait"}',
            "got one that ends with the assistant's turn in line 3",
        ),
        (
            '{"prompt": "how", "safe": [{"role": "user", "content": "sorry"}], "unsafe": "wait"}',
            "expected one turn of the assistant in safe; got user in line 3",
        ),
        (
            '{"prompt": [{"role": "system", "content": "a"}], "safe": "c", "unsafe": "d"}',
            "expected turns that the chat template takes; got System role not supported in line 3",
        ),
        (f'{{"prompt": "{"how " * 200}", "safe": "sorry", "unsafe": "wait"}}', "expected at most 128 tokens; got"),
    ],
)
def test_a_bad_triple_is_one_line_that_names_it(tmp_path: Path, tokenizer: Any, line: str, said: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(f"{GOOD}\n\n{line}\n{GOOD}\n")
    with pytest.raises(SourceError) as error:
        read_triples(file, tokenizer)
    assert said in str(error.value)
    assert f"in line 3 of {file}" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_no_triples(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(SourceError, match="No such file"):
        read_triples(tmp_path / "none.jsonl", tokenizer)
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(SourceError, match="got none in"):
        read_triples(tmp_path / "empty.jsonl", tokenizer)


def test_bytes_that_are_no_text_are_named(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "t.jsonl").write_bytes(GOOD.encode() + b'\n{"prompt": "\xff"}\n')
    with pytest.raises(SourceError, match="in line 2 of"):
        read_triples(tmp_path / "t.jsonl", tokenizer)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    base = AutoTokenizer.from_pretrained(make_tiny_decoder(tmp_path / "base", chat_template=False, layers=1))
    with pytest.raises(ModelError, match="chat template"):
        read_triples(write(tmp_path / "t.jsonl", some_triples(1)), base)
