from pathlib import Path

import pytest
from datatrove.data import Document

from sot_filter.conversation import Conversation, Message
from sot_filter.errors import SourceError
from sot_filter.sources import Part, SourceFile
from sot_filter.steps.embed import EmbedRows, my_share


def test_a_file_that_lost_rows_while_it_was_read_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    part = Part(SourceFile("a.jsonl", "file:///a.jsonl", ".jsonl", 3, 1, "sha256:0"), 0, 3)
    artifact = f"{tmp_path}/{part.name}.arrow"
    row = Conversation((Message("user", "hi"),))
    documents = [
        Document(
            text="hi", id=f"a.jsonl#{i}", metadata={"artifact": artifact, "role": "input", "part": part, "row": row}
        )
        for i in range(2)
    ]
    with pytest.raises(SourceError, match=r"expected 3 rows in a\.jsonl/.*; got 2"):
        list(EmbedRows(str(tmp_path), "key", {"model": "all-MiniLM-L6-v2"}).run(iter(documents)))
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 20])
def test_shares_are_contiguous_and_together_all(world_size: int) -> None:
    shares = [my_share(list(range(11)), rank, world_size) for rank in range(world_size)]
    assert [item for share in shares for item in share] == list(range(11))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
