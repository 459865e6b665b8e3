"""The dialogs of ``greyd top``: a text to read, a question, a choice, and fields to fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.events import Key


def _hidden(keys: str, action: str) -> Binding:
    return Binding(keys, action, show=False, priority=True)


class TextDialog(ModalScreen[str | None]):
    """A text to scroll through; returns the key that closed it, if it is one of ``keys``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _hidden("escape,q,question_mark,enter,ctrl+c", "close"),
        _hidden("up,k", "scroll(-1)"),
        _hidden("down,j", "scroll(1)"),
        _hidden("pageup,b", "page(-1)"),
        _hidden("pagedown,space", "page(1)"),
        _hidden("home,g", "edge(0)"),
        _hidden("end,G", "edge(1)"),
    ]

    def __init__(self, title: str, text: str, keys: str = "", keys_text: str = "") -> None:
        """Create the dialog.

        Args:
            title: the first line, which stays while the text scrolls.
            text: the text.
            keys: the letters that also close it.
            keys_text: the last line, which describes them.
        """
        super().__init__()
        self._title = title
        self._text = text
        self._keys = keys
        self._keys_text = keys_text

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical(classes="full"):
            yield Static(Text(self._title, "bold"))
            with VerticalScroll():
                yield Static(Text(self._text), id="text")
            yield Static(Text(self._keys_text or "↑↓ PgUp PgDn scroll  q or Esc back", "dim"))

    def set_text(self, text: str) -> None:
        """Replace the text."""
        self.query_one("#text", Static).update(Text(text))

    def on_key(self, event: Key) -> None:
        """Close the dialog by one of the letters."""
        if event.character and event.character in self._keys:
            event.stop()
            self.dismiss(event.character)

    @property
    def _scroll(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    def action_close(self) -> None:
        """Close the dialog."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self._scroll.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self._scroll.scroll_relative(y=pages * self._scroll.size.height, animate=False)

    def action_edge(self, end: int) -> None:
        """Scroll to the beginning or the end."""
        if end:
            self._scroll.scroll_end(animate=False)
        else:
            self._scroll.scroll_home(animate=False)


class ConfirmDialog(ModalScreen[bool]):
    """A question; only ``y`` answers yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _hidden("y,Y", "answer(True)"),
        _hidden("n,N,escape,q,ctrl+c", "answer(False)"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical(classes="box"):
            yield Static(Text(self._question))
            yield Static(Text("y yes   n no", "bold"))

    def action_answer(self, answer: bool) -> None:
        """Close the dialog with an answer."""
        self.dismiss(answer)


class ChoiceDialog(ModalScreen[int | None]):
    """A choice among a few lines, by number or with the arrow keys; returns the index."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _hidden("escape,q,ctrl+c", "close"),
        _hidden("up,k", "move(-1)"),
        _hidden("down,j", "move(1)"),
        _hidden("enter", "choose"),
    ]

    def __init__(self, title: str, choices: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._index = 0

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical(classes="box"):
            yield Static(Text(self._title, "bold"))
            yield Static(self._lines(), id="choices")
            yield Static(Text("1-9 or ↑↓ Enter choose   Esc back", "dim"))

    def _lines(self) -> Text:
        lines = [
            Text(f"{number}  {text}", "reverse" if number == self._index + 1 else "")
            for number, text in enumerate(self._choices, 1)
        ]
        return Text("\n").join(lines)

    def on_key(self, event: Key) -> None:
        """Choose by number."""
        if event.character and event.character in "123456789"[: len(self._choices)]:
            event.stop()
            self.dismiss(int(event.character) - 1)

    def action_close(self) -> None:
        """Close the dialog without a choice."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Mark the next or the previous line."""
        self._index = (self._index + step) % len(self._choices)
        self.query_one("#choices", Static).update(self._lines())

    def action_choose(self) -> None:
        """Choose the marked line."""
        self.dismiss(self._index)


class FormDialog(ModalScreen[list[str] | None]):
    """Fields to fill in; Enter goes to the next one, and in the last one returns all values."""

    AUTO_FOCUS = "Input"

    BINDINGS: ClassVar[list[BindingType]] = [
        _hidden("escape,ctrl+c", "close"),
        _hidden("up", "app.focus_previous"),
        _hidden("down", "app.focus_next"),
    ]

    def __init__(self, title: str, fields: Sequence[tuple[str, str]]) -> None:
        """Create the dialog; each field has a label and the value it starts with."""
        super().__init__()
        self._title = title
        self._fields = fields

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical(classes="box"):
            yield Static(Text(self._title, "bold"))
            for label, value in self._fields:
                yield Static(Text(label))
                field = Input(value, select_on_focus=False)
                field.cursor_blink = False
                yield field
            yield Static(Text("Enter next   Esc back", "dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field, or close the dialog."""
        inputs = list(self.query(Input))
        if event.input is inputs[-1]:
            self.dismiss([each.value for each in inputs])
        else:
            inputs[inputs.index(event.input) + 1].focus()

    def action_close(self) -> None:
        """Close the dialog without values."""
        self.dismiss(None)
