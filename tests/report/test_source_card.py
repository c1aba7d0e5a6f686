"""What is taken over from the card of a source."""

import json

import pytest

from sot_filter.errors import SourceError
from sot_filter.report.card_merge import BEGIN, END
from sot_filter.report.front_matter import dump_head, split_card
from sot_filter.report.source_card import inherited


def test_of_no_card_nothing_is_taken_over() -> None:
    assert inherited(None, "org/x") == ({}, "", {})


def test_keys_that_hold_for_the_rows_are_taken_over_and_no_others() -> None:
    head = (
        "license: other\nlicense_name: ours\nlanguage: [no, on]\nviewer: false\nextra_gated_prompt: Ask us.\n"
        "size_categories: [n<1K]\nconfigs: []\nx: 1\ntask_categories: []\n"
    )
    found = inherited(f"---\n{head}---\ntext", "org/x")
    assert found.head == {
        "license": "other",
        "license_name": "ours",
        "language": ["no", "on"],
        "viewer": False,
        "extra_gated_prompt": "Ask us.",
    }
    # A reader that knows the older YAML gets the same words.
    assert split_card(f"---\n{dump_head(found.head)}---\n", SourceError, "it").head == found.head
    assert "'no'" in dump_head(found.head)


def test_what_yaml_knows_and_json_does_not_becomes_words() -> None:
    found = inherited("---\nlicense_details: [2024-05-01, .nan, !!binary aGk=]\n---\n", "org/x")
    assert json.loads(json.dumps(found.head, allow_nan=False)) == found.head
    assert found.head["license_details"][:2] == ["2024-05-01", None]


def test_features_come_by_configuration_and_only_in_the_form_that_is_known() -> None:
    one = "dataset_info: {features: [{name: a, dtype: string}]}"
    assert inherited(f"---\n{one}\n---\n", "org/x").features == {"default": [{"name": "a", "dtype": "string"}]}
    several = (
        "dataset_info: [{config_name: en, features: [{name: a, dtype: string}]}, {config_name: de, features: 3}, 7]"
    )
    assert inherited(f"---\n{several}\n---\n", "org/x").features.keys() == {"en"}


def test_marks_of_an_earlier_weighing_do_not_stand_for_ours() -> None:
    text = inherited(f"# Book\n\n{BEGIN}\nearlier\n{END}\n", "org/x").text
    assert "earlier" in text
    assert not {BEGIN, END} & set(text.splitlines())


@pytest.mark.parametrize("head", ["a: [b", "a: b: c", "- a", "a: 2024-13-45"])
def test_a_broken_head_is_named(head: str) -> None:
    with pytest.raises(SourceError, match="org/x"):
        inherited(f"---\n{head}\n---\n", "org/x")
