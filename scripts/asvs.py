"""Whether the table of OWASP ASVS 5.0 is whole and keeps to its own rules."""

import re
from collections import Counter
from collections.abc import Iterator

# Level of each requirement, by section: the third of 1.1 is V1.1.3.
LEVELS = """
1.1:22 1.2:1111122223 1.3:112222222223 1.4:222 1.5:123 2.1:122 2.2:112 2.3:12223 2.4:23
3.1:3 3.2:113 3.3:12223 3.4:11222233 3.5:11122333 3.6:3 3.7:22333 4.1:12233 4.2:23333 4.3:22
4.4:1222 5.1:2 5.2:112333 5.3:113 5.4:222 6.1:122 6.2:111111112222 6.3:11223333 6.4:112233
6.5:22222333 6.6:2223 6.7:33 6.8:2222 7.1:222 7.2:1111 7.3:22 7.4:11222 7.5:223 7.6:22
8.1:1233 8.2:1123 8.3:133 8.4:23 9.1:111 9.2:1222 10.1:22 10.2:223 10.3:22223
10.4:1111122222233333 10.5:22222 10.6:22 10.7:222 11.1:2233 11.2:22233 11.3:11233 11.4:1222
11.5:23 11.6:23 11.7:33 12.1:12233 12.2:11 12.3:22223 13.1:2333 13.2:222223 13.3:2233
13.4:1222233 14.1:22 14.2:12223333 14.3:122 15.1:12233 15.2:12233 15.3:1222222 15.4:3333
16.1:2 16.2:22222 16.3:2222 16.4:222 16.5:2223 17.1:23 17.2:22223333 17.3:22
"""
OURS_TOO = {"V2.3.5", "V4.1.5", "V7.5.3"}  # of level 3: what this product is about
MOST_NOT_APPLICABLE = 45
LEAST_MET = {1: 1.0, 2: 0.95, 3: 1.0}  # of what applies; of level 3 only those of our own
VERDICTS = ("met", "not met", "not applicable")
ROW = re.compile(r"^\| (V[\d.]+) \| (\d) \|([^|]*)\|([^|]*)\|(.*)\|$", re.MULTILINE)
SUM = re.compile(r"^\| L(\d) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
TEST = re.compile(r"`tests/[\w/.-]+\.py::test_\w+`")


def required() -> dict[str, int]:
    """Return the requirements that need a verdict, with their levels."""
    sections = (section.split(":") for section in LEVELS.split())
    levels = {
        f"V{section}.{number}": int(level)
        for section, told in sections
        for number, level in enumerate(told, 1)
    }
    return {name: level for name, level in levels.items() if level in (1, 2) or name in OURS_TOO}


def objections(text: str) -> Iterator[str]:
    """Yield what is wrong with the table in ``text``."""
    rows = ROW.findall(text)
    yield from _about_wholeness([(name, int(level)) for name, level, *_ in rows])
    for name, _level, _words, verdict, because in rows:
        yield from _about_row(name, verdict.strip(), because.strip())
    absent = sum(verdict.strip() == "not applicable" for _, _, _, verdict, _ in rows)
    if absent > MOST_NOT_APPLICABLE:
        yield f"{absent} requirements are called not applicable, more than {MOST_NOT_APPLICABLE}"
    yield from _about_sums(text, Counter((int(level), v.strip()) for _, level, _, v, _ in rows))


def _about_wholeness(rows: list[tuple[str, int]]) -> Iterator[str]:
    wanted, times = required(), Counter(name for name, _ in rows)
    for name in wanted:
        if times[name] != 1:
            yield f"{name}: it has {times[name]} rows, not one"
    for name, level in rows:
        if wanted.get(name) != level:
            yield f"{name}: its level is {wanted.get(name)}, not {level}"


def _about_row(name: str, verdict: str, because: str) -> Iterator[str]:
    if verdict not in VERDICTS:
        yield f"{name}: {verdict!r} is no verdict; say one of {', '.join(VERDICTS)}"
    if verdict == "met" and not TEST.search(because):
        yield f"{name}: it is called met and names no test"
    if not because:
        yield f"{name}: the reason is missing"


def _about_sums(text: str, counted: Counter[tuple[int, str]]) -> Iterator[str]:
    told = {int(level): tuple(map(int, numbers)) for level, *numbers in SUM.findall(text)}
    for level in (1, 2, 3):
        here = tuple(counted[level, verdict] for verdict in VERDICTS)
        if here[0] < LEAST_MET[level] * (here[0] + here[1]):
            yield f"L{level}: {here[0]} are met of {here[0] + here[1]} that apply, which is too few"
        if told.get(level) != (sum(here), *here):
            said = told.get(level)
            yield f"L{level}: the rows make {(sum(here), *here)}, the summary says {said}"
