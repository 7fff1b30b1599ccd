"""What a row of the benchmarks says of what was to be reached."""

import pytest

from benchmarks import __main__ as bench
from benchmarks.table import Row, filed, show

ROWS = [
    (Row("a", 8, "1/s", "bare", 10, reach_ratio=0.8), "met", "≥ 0.80×"),
    (Row("a", 7, "1/s", "bare", 10, reach_ratio=0.8), "missed", "≥ 0.80×"),
    (Row("a", 20, "ms", "raw", 10, higher_is_better=False, reach_ratio=0.5), "met", "≥ 0.50×"),
    (Row("a", 21, "ms", "raw", 10, higher_is_better=False, reach_ratio=0.5), "missed", "≥ 0.50×"),
    (Row("a", 0, "1/s", "bare", 10, reach_ratio=0.8), "missed", "≥ 0.80×"),
    (Row("a", 10, "s", higher_is_better=False, reach=10), "met", "≤ 10 s"),
    (Row("a", 10.1, "s", higher_is_better=False, reach=10), "missed", "≤ 10 s"),
    (Row("a", 9, "1/s", reach=10), "missed", "≥ 10 1/s"),
    (Row("a", 9, "1/s"), "", ""),
    (Row("a", 0, "", failed="exit code 1", reach=10), "failed", "≥ 10 "),
]


@pytest.mark.parametrize(("row", "verdict", "reach"), ROWS)
def test_a_row_says_whether_it_is_reached(row, verdict, reach):
    assert (row.verdict, row.reach_in_words) == (verdict, reach)


def test_rows_are_filed_as_they_were_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [row for row, _, _ in ROWS]

    show("sample", rows)

    assert filed("sample") == rows


def test_a_script_that_fails_is_a_red_row_and_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bench.RESULTS.mkdir(parents=True)

    (row,) = bench.measured("that_is_not_there", quick=True)

    assert row.verdict == "failed"
    assert "that_is_not_there" in (tmp_path / "var/bench/that_is_not_there.log").read_text()
