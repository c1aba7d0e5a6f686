"""The cards and recipes that ship: all load, say what they are, and are what the table in their README lists."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest
import yaml

from sot_filter.config import ReferenceCard, load_card, load_pipeline
from sot_filter.conversation import resolve_columns
from sot_filter.references import Card, Reference, load_reference
from sot_filter.sources import local_source

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCES: Final = ROOT / "references"
CARDS: Final = sorted(REFERENCES.rglob("*.yaml"))
HUB: Final = [path for path in CARDS if path.stem != "demo"]
PIPELINES: Final = sorted(p for p in (ROOT / "pipelines").rglob("*.yaml") if not p.name.startswith("train_"))
README: Final = (REFERENCES / "README.md").read_text(encoding="utf-8")
LARGEST_SAMPLE: Final = 20_000
NON_COMMERCIAL: Final = re.compile(r"\bnc\b")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_card = pytest.mark.parametrize("path", CARDS, ids=shown)
each_hub_card = pytest.mark.parametrize("path", HUB, ids=shown)
each_pipeline = pytest.mark.parametrize("path", PIPELINES, ids=shown)


@each_card
def test_a_card_loads_and_says_what_it_is(path: Path) -> None:
    card = load_card(str(path))
    assert card.name
    assert card.licence
    assert len(card.description) > 60, "what it is good for, and its limits"
    assert card.description.endswith(".")


def test_both_roles_have_cards_and_no_card_is_without_a_role() -> None:
    assert {shown(path.parent) for path in CARDS} == {"references/safe", "references/harmful"}


def test_names_are_distinct() -> None:
    names = [load_card(str(path)).name for path in CARDS]
    assert sorted(set(names)) == sorted(names)


@each_hub_card
def test_a_hub_card_is_pinned_bounded_and_explicit(path: Path) -> None:
    card = load_card(str(path))
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", card.dataset or "")
    assert card.homepage == f"https://huggingface.co/datasets/{card.dataset}"
    assert re.fullmatch(r"[0-9a-f]{40}|main", card.revision or "")
    assert card.sample is not None
    assert card.sample <= LARGEST_SAMPLE
    assert resolve_columns(card.format, list(card.columns.values()), card.columns) == card.columns


def test_what_serves_both_roles_reads_other_rows_or_another_column() -> None:
    readings = defaultdict(list)
    for path in HUB:
        card = load_card(str(path))
        where = sorted((column, str(value)) for column, value in card.where.items())
        readings[card.dataset].append((where, card.columns))
    assert max(map(len, readings.values())) > 1
    for dataset, found in readings.items():
        assert all(found.count(reading) == 1 for reading in found), dataset


@each_card
def test_a_card_holds_no_text_of_a_dataset(path: Path) -> None:
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(card) <= set(ReferenceCard.model_fields)
    assert len(card.pop("description")) <= 400
    assert all(len(str(value)) <= 150 for value in card.values())


@pytest.mark.parametrize("role", ["safe", "harmful"])
def test_the_demo_rows_are_all_used(role: str) -> None:
    reference = demo(role)
    assert reference.left_out == {}
    assert len(reference.conversations) >= 100
    assert all(
        conversation.text("prompt") and conversation.text("response") for conversation in reference.conversations
    )


def test_the_demo_references_share_no_row() -> None:
    safe, harmful = ({c.digest() for c in demo(role).conversations} for role in ("safe", "harmful"))
    assert safe & harmful == set()


def test_the_readme_lists_every_card_with_its_source_and_licence() -> None:
    rows = {match[1]: line for line in README.splitlines() if (match := re.match(r"\| \[[^]]+\]\(([^)]+)\)", line))}
    assert sorted(rows) == [path.relative_to(REFERENCES).as_posix() for path in CARDS]
    for name, line in rows.items():
        card = load_card(str(REFERENCES / name))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0].startswith(f"[{name}]")
        assert cells[1].startswith(f"{card.dataset}," if card.dataset else "`demo/")
        assert cells[4].removesuffix(" **(NC)**") == card.licence
        assert cells[4].endswith("**(NC)**") == bool(NON_COMMERCIAL.search(card.licence.lower()))
        assert [column for column in card.columns.values() if f"`{column}`" not in cells[3]] == []


def test_the_examples_of_the_readme_are_valid() -> None:
    blocks = [
        yaml.safe_load(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)
    ]
    references, own = blocks
    listed = [*references["references"]["safe"], references["references"]["harmful"]]
    assert [path for path in listed if ROOT / path not in CARDS] == []
    assert ReferenceCard.model_validate(own).where == {"verdict": "ok", "language": ("en", "de")}


@each_pipeline
def test_a_recipe_loads_and_its_references_are_of_their_role(path: Path) -> None:
    pipeline = load_pipeline(str(path))
    for role in ("safe", "harmful"):
        given = getattr(pipeline.references, role)
        for reference in given if isinstance(given, tuple) else (given,):
            if isinstance(reference, str) and reference.endswith(".yaml"):
                assert load_card(reference).name
                assert Path(reference).parent.name == role


def demo(role: str) -> Reference:
    """The reference that the demo card of this role makes."""
    card = load_card(str(REFERENCES / role / "demo.yaml"))
    assert card.files is not None
    source = local_source(card.files, split=card.split, format=card.format, columns=card.columns)
    return load_reference(Card(card.name, source, card.where, card.sample, card.seed, card.digest))
