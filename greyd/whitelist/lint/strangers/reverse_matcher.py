"""Matches a pattern from the right end of a name to its left end.

The right end of a name shows its owner, so the linter reads names backwards, with a
nondeterministic automaton (Thompson's construction) of the mirrored pattern that is made
deterministic lazily, state by state.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.rules.hostnames import MAX_NAME_BYTES
from greyd.whitelist.perl_regex.byte_sets import WORD
from greyd.whitelist.perl_regex.syntax import (
    Alternation,
    Anchor,
    ByteSet,
    Node,
    Repeat,
    Sequence,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.whitelist.lint.strangers.name_forms import NameForm

MAX_STATES = 20_000
"""Maximum number of states of a pattern's automaton."""

MAX_WORK = 3_000_000
"""Maximum number of the automaton's states that all steps of a search visit."""

MAX_EXPLORED = 20_000
"""Maximum number of states that a search explores."""


class TooLargeError(Exception):
    """A pattern or a search is larger than the limits."""


class _Edge(Enum):
    """What is next to a position in a name."""

    END = 0
    """Nothing: the place is an end of the name."""
    WORD = 1
    OTHER = 2


@dataclass(frozen=True, slots=True, eq=False)
class ReadState:
    """What is known after the right part of a name has been read.

    A matcher has one object for each state, because comparing them by identity is much faster.
    """

    threads: frozenset[int]
    beside: _Edge
    """The character read last."""
    is_matched: bool = False


_MATCHED = ReadState(frozenset(), _Edge.OTHER, is_matched=True)
_MATCH = -1


class ReverseMatcher:
    """The automaton of one pattern, which is searched anywhere in a name."""

    def __init__(self, root: Node) -> None:
        """Build the automaton.

        Raises:
            TooLargeError: it has more than ``MAX_STATES`` states.
        """
        self._masks: list[int | None] = []
        """For each state the bytes that it reads; None if it reads nothing."""
        self._anchors: list[Anchor | None] = []
        self._next: list[tuple[int, ...]] = []
        self._start = self._build(root, _MATCH)
        self._explored_count = 0
        self._visited_count = 0
        self._known_representatives: dict[bytes, bytes] = {}
        self._states: dict[tuple[frozenset[int], _Edge], ReadState] = {}
        self._steps: dict[ReadState, dict[int, ReadState]] = {}
        self._closures: dict[tuple[frozenset[int], _Edge, _Edge], frozenset[int]] = {}
        self.start = ReadState(frozenset(), _Edge.END)
        self._restarts = any(
            each == _MATCH or self._masks[each] is not None
            for right in (_Edge.WORD, _Edge.OTHER)
            for left in _Edge
            for each in self._closure(ReadState(frozenset(), right), left)
        )
        """Whether a match may begin left of the right end of a name."""

    # Construction ---------------------------------------------------------------------------------

    def _add(
        self, following: tuple[int, ...], mask: int | None = None, anchor: Anchor | None = None
    ) -> int:
        if len(self._next) >= MAX_STATES:
            raise TooLargeError
        self._masks.append(mask)
        self._anchors.append(anchor)
        self._next.append(following)
        return len(self._next) - 1

    def _build(self, node: Node, following: int) -> int:
        """Add the states of a node; return the first one."""
        match node:
            case ByteSet(mask):
                return self._add((following,), mask=mask)
            case Anchor():
                return self._add((following,), anchor=node)
            case Sequence(items):
                # The last item is read first.
                for item in items:
                    following = self._build(item, following)
                return following
            case Alternation(options):
                return self._add(tuple(self._build(each, following) for each in options))
            case Repeat():
                return self._build_repeat(node, following)

    def _build_repeat(self, node: Repeat, following: int) -> int:
        if node.max_count is None:
            loop = self._add(())
            self._next[loop] = (self._build(node.item, loop), following)
            following = loop
        else:
            for _ in range(node.max_count - node.min_count):
                following = self._add((self._build(node.item, following), following))
        for _ in range(node.min_count):
            following = self._build(node.item, following)
        return following

    # Reading --------------------------------------------------------------------------------------

    def read(self, state: ReadState, text: bytes) -> ReadState:
        """Return the state after ``text`` has been read, from its last byte to its first."""
        for byte in reversed(text):
            if self.is_dead(state):
                break
            state = self._step(state, byte)
        return state

    def accepts_end(self, state: ReadState) -> bool:
        """Whether a name that begins here matches."""
        return state.is_matched or _MATCH in self._closure(state, _Edge.END)

    def _step(self, state: ReadState, byte: int) -> ReadState:
        if state.is_matched:
            return state
        steps = self._steps.setdefault(state, {})
        if (known := steps.get(byte)) is not None:
            return known
        kind = _Edge.WORD if WORD >> byte & 1 else _Edge.OTHER
        closure = self._closure(state, kind)
        if _MATCH in closure:
            result = _MATCHED
        else:
            threads = frozenset(
                self._next[each][0] for each in closure if (self._masks[each] or 0) >> byte & 1
            )
            result = self._states.setdefault((threads, kind), ReadState(threads, kind))
        steps[byte] = result
        return result

    def _closure(self, state: ReadState, following: _Edge) -> frozenset[int]:
        """Return the states reachable without reading a byte, given the bytes on both sides."""
        key = (state.threads, state.beside, following)
        if (known := self._closures.get(key)) is not None:
            return known
        found: set[int] = set()
        if self._visited_count > MAX_WORK:
            raise TooLargeError
        waiting = [*state.threads, self._start]
        while waiting:
            each = waiting.pop()
            if each in found:
                continue
            found.add(each)
            if each == _MATCH:
                return self._closures.setdefault(key, frozenset((_MATCH,)))
            if self._masks[each] is not None:
                continue
            anchor = self._anchors[each]
            if anchor is None or _holds(anchor, state.beside, following):
                waiting += self._next[each]
        self._visited_count += len(found)
        return self._closures.setdefault(key, frozenset(found))

    # Searching ------------------------------------------------------------------------------------

    def explore(self, tail: bytes, form: NameForm) -> Iterator[tuple[ReadState, bytes]]:
        """Yield names that end with a text, the shortest first, and at most one for each state.

        Names whose state allows no match are left out.

        Raises:
            TooLargeError: there are more than ``MAX_EXPLORED`` states.
        """
        start = self.read(self.start, tail)
        if self.is_dead(start):
            return
        characters = self._representatives(form.characters)
        waiting = deque([(start, tail)])
        seen: set[object] = set()
        while waiting:
            state, name = waiting.popleft()
            yield state, name
            if len(name) >= MAX_NAME_BYTES:
                continue
            for byte in characters:
                if not form.may_precede(byte, name):
                    continue
                longer = bytes((byte,)) + name
                following = self._step(state, byte)
                key = (following, form.distinction(longer))
                if key in seen or self.is_dead(following):
                    continue
                self._explored_count += 1
                if self._explored_count > MAX_EXPLORED:
                    raise TooLargeError
                seen.add(key)
                waiting.append((following, longer))

    def is_dead(self, state: ReadState) -> bool:
        """Whether no name whose right part leads to this state can match."""
        if state.beside is _Edge.END:
            return False
        return not (state.threads or state.is_matched or self._restarts)

    def _representatives(self, characters: bytes) -> bytes:
        """Return one character for each class of characters that the pattern treats alike."""
        if characters in self._known_representatives:
            return self._known_representatives[characters]
        classes: dict[tuple[object, ...], int] = {}
        masks = {mask for mask in self._masks if mask} | {WORD}
        for byte in characters:
            kind = byte if byte in b".-@" else None
            classes.setdefault((kind, *(mask >> byte & 1 for mask in masks)), byte)
        found = self._known_representatives[characters] = bytes(classes.values())
        return found


def _holds(anchor: Anchor, right: _Edge, left: _Edge) -> bool:
    match anchor:
        case Anchor.END:
            return right is _Edge.END
        case Anchor.BEGIN:
            return left is _Edge.END
    is_boundary = (right is _Edge.WORD) != (left is _Edge.WORD)
    return is_boundary == (anchor is Anchor.WORD_BOUNDARY)
