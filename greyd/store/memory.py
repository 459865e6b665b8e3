"""The store in the server's own memory (``memory://``), for tests: fakeredis instead of a server.

fakeredis is an extra of the package (``greyd[memory]``) and is imported for this store alone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError

from greyd.store.errors import MissingPackageError, StoreError
from greyd.store.redis.errors import ScriptNotLoadedError
from greyd.store.redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.store.redis.transport import Argument, ReplyCheck, Send

REMEDY = "memory:// needs the package fakeredis: pip install 'greyd[memory]'"


class MemoryTransport(RedisTransport):
    """Sends commands to a Redis within this process."""

    is_divided = False

    def __init__(self) -> None:
        """Create an empty Redis.

        Raises:
            MissingPackageError: fakeredis or its Lua interpreter is not installed.
        """
        try:
            import lupa  # type: ignore[import-untyped]  # noqa: F401 - fakeredis needs it late
            from fakeredis import FakeAsyncRedis
        except ModuleNotFoundError as error:
            raise MissingPackageError(REMEDY) from error
        self._redis = FakeAsyncRedis()

    async def send(
        self,
        key: bytes,  # noqa: ARG002 - all keys are in one slot
        *command: Argument,
        is_valid: ReplyCheck | None = None,  # noqa: ARG002 - fakeredis replies as Redis does
    ) -> Any:
        """Run a command, and return its reply."""
        try:
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError as error:
            raise ScriptNotLoadedError(str(error)) from error
        except RedisError as error:
            raise StoreError(f"memory: {error}") from error

    def slot(self, key: bytes) -> int:  # noqa: ARG002 - all keys are in one slot
        """Return 0: all keys are in one slot."""
        return 0

    async def nodes(self) -> Sequence[Send]:
        """Return one function, which runs a command."""
        return [partial(self.send, b"")]

    async def connect(self) -> None:
        """Do nothing: there is no connection."""

    def abandon(self) -> None:
        """Do nothing: no command takes long."""

    def explain_delay(self, timeout_seconds: float) -> str:  # noqa: ARG002 - no network to blame
        """Return an empty text: no network delays a reply."""
        return ""

    async def close(self) -> None:
        """Discard all entries."""
        await self._redis.aclose()
