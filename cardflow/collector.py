"""The garbage collector, told what our long-lived processes are made of."""

import gc

YOUNG, MIDDLE, OLD = 20_000, 20, 100


def collect_seldom() -> None:
    """Look for garbage less often: loading a process's modules makes much that stays."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def keep_what_is_loaded() -> None:
    """Never look again at what is loaded: a look at all of it holds up whoever waits just then."""
    gc.collect()
    gc.freeze()
