"""How a short-lived process with a Temporal client ends."""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, NoReturn

from cardflow.errors import CardflowError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run_and_exit(main: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run ``main`` and end the process with its number, without tearing the interpreter down.

    The SDK's native threads can crash the interpreter while it is being torn down, after all work
    is done (temporalio/sdk-python#300), and would turn a success into exit code 139.
    """
    code = _code_of(main)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code_of(main: Coroutine[Any, Any, int | None]) -> int:
    try:
        return asyncio.run(main) or 0
    except CardflowError as refusal:
        sys.stderr.write(f"{refusal}\n")
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        # os._exit skips the interpreter's own last handler, which would have shown this.
        traceback.print_exc()
    return 1
