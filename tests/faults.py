"""A greyd in which functions raise unexpected errors: ``python -m tests.faults serve …``.

Which functions, and what they raise, is in the environment (``faulty``). A fault is there while a
file is, so that a test can let it begin and end. greyd's own code knows nothing of this.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greyd.store.errors import StoreError
from tests.processes import greyd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from greyd.config.settings import Settings
    from tests.processes import Running

_VARIABLE = "TESTS_FAULTS"


class Faults:
    """The injected faults of one server, which a test switches on and off."""

    def __init__(self, folder: Path) -> None:
        self.switch = folder / "faults-are-there"

    def begin(self) -> None:
        """Make the functions raise errors."""
        self.switch.touch()

    def end(self) -> None:
        """Make the functions work again."""
        self.switch.unlink()


@contextlib.contextmanager
def faulty(
    folder: Path,
    faults: Mapping[str, str],
    *options: str,
    environment: Mapping[str, str] | None = None,
    from_start: bool = False,
) -> Iterator[tuple[Running, Faults]]:
    """Run a greyd with injected faults.

    Args:
        folder: its own.
        faults: what functions raise: ``{"module:Class.method": "KeyError('odd')"}``; ``time.sleep``
            makes them slow.
        options: of ``greyd serve``.
        environment: more of its environment.
        from_start: whether the faults are there when it starts.
    """
    folder.mkdir(exist_ok=True)
    control = Faults(folder)
    if from_start:
        control.begin()
    told = {_VARIABLE: json.dumps({"switch": str(control.switch), "faults": dict(faults)})}
    with greyd(
        folder, *options, environment={**told, **(environment or {})}, module="tests.faults"
    ) as server:
        yield server, control


def _main() -> None:
    from greyd.cli.main import main
    from greyd.server import process

    told = json.loads(os.environ[_VARIABLE])
    switch = Path(told["switch"])
    import_modules = process._import_modules

    @functools.wraps(import_modules)
    def import_modules_and_break(settings: Settings) -> Settings:
        # Not before: the metrics' module must not be loaded until its folder is known.
        settings = import_modules(settings)
        for name, error in told["faults"].items():
            _break(name, error, switch)
        return settings

    process._import_modules = import_modules_and_break
    main(sys.argv[1:])


def _break(name: str, error: str, switch: Path) -> None:
    module, _, path = name.partition(":")
    *outer, last = path.split(".")
    owner: Any = functools.reduce(getattr, outer, import_module(module))
    function: Callable[..., Any] = getattr(owner, last)

    def on_call(number: int, error: Exception) -> Exception | None:
        """Return an error at the ``number``-th call of all processes together."""
        with switch.open("ab") as calls:
            calls.write(b".")
            calls.flush()
            return error if calls.tell() == number else None

    known = {"time": time, "on_call": on_call, "StoreError": StoreError}

    def fail_if_told() -> None:
        if switch.exists():
            fault = eval(error, known)
            if fault is not None:
                raise fault

    @functools.wraps(function)
    async def broken_coroutine(*arguments: Any, **named: Any) -> Any:
        fail_if_told()
        return await function(*arguments, **named)

    @functools.wraps(function)
    def broken(*arguments: Any, **named: Any) -> Any:
        fail_if_told()
        return function(*arguments, **named)

    setattr(owner, last, broken_coroutine if iscoroutinefunction(function) else broken)


if __name__ == "__main__":
    _main()
