"""Large files go to the API in parts, and its refusals still name the file's own lines."""

import pytest

from cli.csv_parts import parts_of


def test_each_part_has_the_first_line_and_knows_where_it_was():
    text = "login,name\r\n" + "".join(f"p{n},P {n}\r\n" for n in range(5))
    parts = parts_of(text, size=2)

    assert [part.text.split("\r\n")[0] for part in parts] == ["login,name"] * 3
    assert [part.text.count("\n") for part in parts] == [3, 3, 2]
    assert [part.line_of_file(2) for part in parts] == [2, 4, 6]


def test_a_cell_with_a_line_break_is_not_cut():
    first, second = parts_of('login;name\na;"Ada\nHolm"\n\nb;Ben', size=2)

    assert first.text == 'login;name\na;"Ada\nHolm"\n\n'
    assert (second.text, second.line_of_file(2)) == ("login;name\nb;Ben", 5)


@pytest.mark.parametrize("text", ["", "login,name\n", 'login,name\n"a,b\n'])
def test_what_has_no_records_or_cannot_be_read_goes_as_it_is(text):
    assert [part.text for part in parts_of(text)] == [text]
