"""Surprise under character pairs: against a count by hand, and on texts that people hide things in."""

import base64
import codecs
import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.weighting import PairModel, character_pairs
from sot_filter.weighting.typicality import CLASSES

REFERENCE = [
    "How do I bake bread at home without a machine?",
    "Mix flour, water, salt and yeast, let the dough rest, and bake it for forty minutes.",
    "Which trees keep their leaves in the winter months?",
    "Most conifers do, and so do holly, ivy and some oaks that grow in the south.",
    "Please write a short letter to my landlord about the broken heating.",
    "Dear Mr Miller, the heating has been broken since Monday; could you have it repaired this week?",
    "What is the difference between a hill and a mountain?",
    "There is no strict border; a mountain is higher and steeper, and people agree on it by habit.",
]
SIDES = [character_pairs(text) for text in REFERENCE]
ORDINARY = "Could you tell me when the trains to the mountain leave on a Monday in winter?"


def unpacked(pairs: np.ndarray) -> dict[int, int]:
    return dict(zip((pairs >> 16).tolist(), (pairs & 0xFFFF).tolist(), strict=True))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_pairs_are_counted_as_by_hand(text: str) -> None:
    expected = Counter((ord(a) - 32) * CLASSES + ord(b) - 32 for a, b in itertools.pairwise(text))
    assert unpacked(character_pairs(text)) == expected


@given(st.text(max_size=40))
def test_any_text_has_pairs_and_white_space_is_folded(text: str) -> None:
    pairs = character_pairs(text)
    assert pairs.dtype == np.uint32
    assert unpacked(pairs) == unpacked(character_pairs(f"  {' '.join(text.split())}\n"))
    assert sum(unpacked(pairs).values()) == max(len(" ".join(text.split())) - 1, 0)
    assert math.isfinite(PairModel.fit(SIDES).surprise([pairs]))


def test_a_count_stops_where_it_no_longer_fits() -> None:
    assert list(unpacked(character_pairs("a" * 100_000)).values()) == [0xFFFF]


def test_surprise_is_the_code_length_by_hand() -> None:
    model, text = PairModel.fit(SIDES), "the bread"
    counts, prior = model.counts, 4.0
    bits = 0.0
    for a, b in itertools.pairwise(text):
        i, j = ord(a) - 32, ord(b) - 32
        plain = (counts[:, j].sum() + 1) / (counts.sum() + CLASSES)
        bits -= math.log2((counts[i, j] + prior * plain) / (counts[i].sum() + prior))
    expected = (bits + 32 * model.ordinary) / (len(text) - 1 + 32)
    assert model.surprise([character_pairs(text)]) == pytest.approx(expected)


def test_a_held_out_row_is_measured_as_if_it_had_not_been_counted() -> None:
    model = PairModel.fit(SIDES)
    without = PairModel.fit(SIDES[2:])
    found = model.surprise(SIDES[:2], held_out=True)
    eked = PairModel(without.counts)
    object.__setattr__(eked, "ordinary", model.ordinary)
    assert found == pytest.approx(eked.surprise(SIDES[:2]))
    assert found > model.surprise(SIDES[:2])


def test_the_most_surprising_side_counts() -> None:
    model = PairModel.fit(SIDES)
    strange, usual = character_pairs("qxzj vvkq zzxw jjqk xxzq"), character_pairs(ORDINARY)
    assert model.surprise([usual, strange]) == model.surprise([strange, usual]) == model.surprise([strange])
    assert model.surprise([]) == model.surprise([character_pairs("")]) == model.ordinary


@pytest.mark.parametrize(
    "hidden",
    [
        base64.b64encode(ORDINARY.encode()).decode(),
        ORDINARY.encode().hex(),
        codecs.encode(ORDINARY, "rot13"),
        ORDINARY[::-1].swapcase(),
        "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz ", k=80)),
        "Когда зимой по понедельникам отправляются поезда в горы?",
        "冬天的星期一，去山上的火车什么时候出发？请告诉我。",
    ],
)
def test_hidden_text_is_more_surprising_than_any_reference_row(hidden: str) -> None:
    model = PairModel.fit(SIDES)
    highest = max(model.surprise([side], held_out=True) for side in SIDES)
    assert model.surprise([character_pairs(ORDINARY)]) < highest < model.surprise([character_pairs(hidden)])


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=6))
def test_rows_together_are_as_surprising_as_each_alone(rows: list[tuple[str, str]]) -> None:
    model = PairModel.fit(SIDES)
    sides = [[character_pairs(text) for text in texts] for texts in rows]
    together = []
    for side in range(2):
        texts = [row[side] for row in sides]
        # Pairs of other rows may lie before and after, as in a slice of a table.
        pairs = np.concatenate([np.full(3, 77, np.uint32), *texts, np.full(2, 99, np.uint32)])
        together.append((pairs, np.cumsum([3, *map(len, texts)])))
    np.testing.assert_allclose(model.surprises(together), [model.surprise(row) for row in sides], rtol=1e-12)


def test_few_characters_prove_little() -> None:
    model = PairModel.fit(SIDES)
    once, often = (model.surprise([character_pairs("qx" * n)]) for n in (1, 50))
    assert model.ordinary < once < often
