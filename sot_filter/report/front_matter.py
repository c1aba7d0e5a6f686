"""The YAML head of a card and the text below it, told apart and put together again, nothing else of them changed."""

import json
import re
from typing import Any, Final, NamedTuple

import yaml

from sot_filter.errors import SotFilterError

#: What the Hub's server takes for the head (huggingface_hub.repocard), and one that is empty.
_HEAD: Final = re.compile(r"\A(\ufeff?\s*---(?:\r\n|\r|\n))((?:[\S\s]*?(?:\r\n|\r|\n))??)(---[ \t]*(?:\r\n|\r|\n|\Z))")
#: Line ends to YAML, which PyYAML does not read back unless they are escaped.
_ODD_BREAKS: Final = ("\x85", "\u2028", "\u2029")


class Card(NamedTuple):
    """A card in two parts.

    Attributes:
        head: the values of its YAML.
        yaml: the YAML as it is written, without the lines around it; None where the card has none.
        around: the lines before and after the YAML.
        text: everything below.
    """

    head: dict[str, Any]
    yaml: str | None
    around: tuple[str, str]
    text: str


class _Loader(yaml.SafeLoader):
    """YAML as the Hub reads it: `no` is Norwegian, and a key given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_BOOL: Final = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


class _Dumper(yaml.SafeDumper):
    """YAML without anchors, which readers of cards need not know."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def split_card(text: str, error: type[SotFilterError], where: str) -> Card:
    """Tell head and text apart.

    Args:
        text: a README.md.
        error: what to raise.
        where: what the card belongs to, as the message names it.

    Raises:
        SotFilterError: the head is no YAML, or not of keys and values.
    """
    found = _HEAD.match(text)
    if found is None:
        return Card({}, None, ("", ""), text)
    before, block, after = found.groups()
    try:
        head = _Loader(block).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        said = getattr(problem, "problem", None) or str(problem).splitlines()[0]
        # The line of the file: the mark counts from the first line of the YAML.
        at = f" at line {mark.line + 2}" if mark else ""
        raise _broken(error, where, f"{said}{at}") from None
    if not isinstance(head, dict | None):
        raise _broken(error, where, f"a {type(head).__name__}")
    return Card(head or {}, block, (before, after), text[found.end() :])


def _broken(error: type[SotFilterError], where: str, got: str) -> SotFilterError:
    return error(f"keys and values as YAML at the top of README.md of {where}", got, "Correct the card first.")


def dump_head(head: dict[str, Any]) -> str:
    """Values as YAML that every reader of cards reads alike."""
    plain = not any(sign in json.dumps(head, ensure_ascii=False, default=str) for sign in _ODD_BREAKS)
    # Never folded: a line of a file name stays one.
    return yaml.dump(head, Dumper=_Dumper, sort_keys=False, allow_unicode=plain, width=2**20)


def with_head(card: Card, head: dict[str, Any]) -> str:
    """The card with another head: keys that are the same keep their lines, comments among them; so does the text."""
    breaks = "\r\n" if "\r\n" in f"{card.around[0]}{card.text}" else "\n"
    if card.yaml is None:
        return f"---\n{dump_head(head)}---\n\n".replace("\n", breaks) + card.text
    before, after = card.around
    return f"{before}{_spliced(card.yaml, card.head, head, breaks)}{after}{card.text}"


def _spliced(block: str, before: dict[str, Any], after: dict[str, Any], breaks: str) -> str:
    written = block
    node = yaml.compose(block, _Loader)
    if isinstance(node, yaml.MappingNode):
        starts = [key.start_mark.index - key.start_mark.column for key, _ in node.value]
        ends = [*starts[1:], len(block)]
        # From the last, so that the places of the others hold.
        for (key, _), start, end in reversed(list(zip(node.value, starts, ends, strict=True))):
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in after and after[name] != before.get(name):
                text = block[start:end]
                kept = re.search(r"(?:^[ \t]*(?:#.*)?(?:\r\n|\r|\n))*\Z", text, re.MULTILINE)
                rest = kept.group() if kept else ""
                written = written[:start] + dump_head({name: after[name]}).replace("\n", breaks) + rest + written[end:]
    if written and not written.endswith(("\n", "\r")):
        written += breaks
    if added := {name: value for name, value in after.items() if name not in before}:
        written += dump_head(added).replace("\n", breaks)
    try:
        if _Loader(written).get_single_data() == after:
            return written
    except yaml.YAMLError:
        pass
    # An anchor that another key needs, braces around it all: rare, and then the layout goes rather than the values.
    return dump_head(after).replace("\n", breaks)
