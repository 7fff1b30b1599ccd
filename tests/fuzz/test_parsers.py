"""Whatever the bytes, a reader of ours reads them or says no in its own words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS, Parser

FEW, MANY = 60, 1_000


def bent(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return what draws one of the seeds with a few places cut out or filled with other bytes."""

    def bend(seed: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, filling in cuts:
            place = at % (len(seed) + 1)
            seed = seed[:place] + filling + seed[place + length :]
        return seed

    words = st.sampled_from(
        [b"\0", b"\n", b'"', b"[" * 2_000, b"\xff", b"9" * 5_000, b"\xed\xa0\x80"]
    )
    cut = st.tuples(st.integers(0, 2**20), st.integers(0, 40), st.binary(max_size=8) | words)
    return st.binary(max_size=200) | st.builds(
        bend, st.sampled_from(seeds), st.lists(cut, min_size=1, max_size=4)
    )


def feed(parser: Parser, examples: int, *, derandomize: bool) -> None:
    seeds = parser.seeds()
    for seed in seeds:
        parser.feed(seed)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
    )
    @given(bent([seed for seed in seeds if len(seed) < 100_000]))
    def run(data: bytes) -> None:
        parser.feed(data)

    run()


@pytest.mark.parametrize("parser", [pytest.param(each, id=each.name) for each in PARSERS])
def test_a_reader_reads_or_refuses(parser: Parser) -> None:
    feed(parser, FEW, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("parser", [pytest.param(each, id=each.name) for each in PARSERS])
def test_a_reader_reads_or_refuses_thousands(parser: Parser) -> None:
    feed(parser, MANY, derandomize=False)


def test_each_reader_is_there_once() -> None:
    assert len({parser.name for parser in PARSERS}) == len(PARSERS)
