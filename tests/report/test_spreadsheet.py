import csv
import io

import numpy as np
import pytest

from sot_filter.report.spreadsheet import spreadsheet


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "|cmd", "%0", "＝1"])
def test_text_that_a_spreadsheet_would_compute_is_escaped(text: str) -> None:
    assert read(spreadsheet([text], [[text]])) == [[f"'{text}".replace("\r", "\n")]] * 2


@pytest.mark.parametrize("text", ["a=1", "default/train/a.jsonl#3", 'with "quotes", and\nlines', "1-2", "é 漢", ""])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert read(spreadsheet(["name", "other"], [[text, 1]])) == [["name", "other"], [text, "1"]]


@pytest.mark.parametrize("text", ["a\r=1+1", "a\r\n=1+1", "a\n=1+1", '","=1+1'])
def test_no_text_begins_a_cell_of_its_own(text: str) -> None:
    assert read(spreadsheet(["name"], [[text]])) == [["name"], [text.replace("\r\n", "\n").replace("\r", "\n")]]


def test_numbers_stay_numbers_also_below_zero() -> None:
    row = [-1.5, np.float32(-0.1), np.int64(-3), True, np.bool_(False), -2e-9]
    assert read(spreadsheet("abcdef", [row]))[1] == ["-1.5", "-0.1", "-3", "1", "0", "-2e-09"]


def test_what_is_no_number_is_empty_and_what_is_no_letter_breaks_nothing() -> None:
    row = [None, float("nan"), -np.inf, "\ud800", "a\0b"]
    assert read(spreadsheet("abcde", [row]))[1] == ["", "", "", "?", "a\N{REPLACEMENT CHARACTER}b"]
