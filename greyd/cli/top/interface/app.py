"""The interactive ``greyd top``: keys, dialogs and refreshes."""

from __future__ import annotations

import asyncio
import contextlib
import curses
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.widgets import Input

from greyd.cli.top.explained_mail import explain_mail
from greyd.cli.top.help_text import HELP
from greyd.cli.top.interface.dialogs import ChoiceDialog, ConfirmDialog, FormDialog, TextDialog
from greyd.cli.top.interface.line_buffer import LineBuffer
from greyd.cli.top.interface.terminal_driver import StandardOutputDriver
from greyd.cli.top.mail_actions import ExpectMail, ForgetMail, ReleaseMail, route_of
from greyd.cli.top.main_view import ListState, main_lines
from greyd.cli.top.whitelist_choices import whitelist_choices
from greyd.errors import GreydError, describe_error
from greyd.terminal import has_colours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.app import ComposeResult

    from greyd.cli.top.live_data import LiveData
    from greyd.cli.top.mail_actions import MailAction
    from greyd.cli.top.waiting_mail import ListedMail

_FIRST_ROWS_SECONDS = 0.5
"""The time between two redraws during a scan that has not found any mail yet."""

_MIN_COLOURS = 8
_MAIL_KEYS = {"r": "release", "w": "whitelist", "e": "expect", "f": "forget"}
"""The keys that change something for the selected mail, and their actions."""

_EXPLAIN_KEYS = "r release w whitelist e expect f forget Esc"
_STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


async def run(data: LiveData, count: int) -> None:
    """Run until a key or a signal ends it, or after ``count`` refreshes; 0: unlimited.

    Raises:
        UnusableStoreError: the file or database is not a store of greyd's.
    """
    loop = asyncio.get_running_loop()
    with _environment_for_terminal():
        # Textual reads the variables here.
        app = TopApp(data, count)
        for number in _STOPS:
            loop.add_signal_handler(number, app.exit)
        try:
            await app.run_async(mouse=False)
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)
    if app.failure is not None:
        raise app.failure


@contextlib.contextmanager
def _environment_for_terminal() -> Iterator[None]:
    """Remove variables that would override the terminal's size and colours while it runs."""
    before = dict(os.environ)
    # A resize does not change these.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    is_coloured = _terminal_has_colours()
    # Textual treats even an empty value as a request for no colours.
    os.environ.pop("NO_COLOR", None)
    if not is_coloured:
        os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _terminal_has_colours() -> bool:
    """Whether to use colours; a terminal that terminfo does not know counts as having them."""
    if not has_colours(sys.stdout):
        return False
    try:
        curses.setupterm()
        return curses.tigetnum("colors") >= _MIN_COLOURS
    except curses.error:
        return True


class TopApp(App[None]):
    """The application; its main screen is one ``LineBuffer``, and a field for the filter."""

    CSS = """
    * { background: ansi_default; color: ansi_default; }
    Screen { layout: vertical; overflow: hidden; }
    LineBuffer { height: 1fr; width: 100%; }
    #filter { display: none; }
    Input, Input:focus { border: none; height: 1; padding: 0; background: ansi_default; }
    ModalScreen { align: center bottom; background: transparent; }
    .box { height: auto; max-height: 100%; width: 100%; border-top: solid ansi_default;
           padding: 0; overflow-y: auto; }
    .box Static { width: 100%; height: auto; }
    .full { height: 100%; width: 100%; }
    .full Static { width: 100%; height: auto; }
    VerticalScroll { height: 1fr; scrollbar-size-vertical: 0; }
    """
    AUTO_FOCUS = None
    ENABLE_COMMAND_PALETTE = False
    INLINE_PADDING = 0
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,ctrl+q", "quit", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", show=False),
        Binding("home,g", "edge(0)", show=False),
        Binding("end,G", "edge(1)", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "clear", show=False),
        Binding("enter", "explain", show=False),
        *(Binding(key, action, show=False) for key, action in _MAIL_KEYS.items()),
        Binding("s", "sort", show=False),
        Binding("question_mark,h", "help", show=False),
        Binding("ctrl+l", "redraw", show=False),
    ]

    def __init__(self, data: LiveData, count: int = 0) -> None:
        super().__init__(driver_class=StandardOutputDriver, ansi_color=True)
        self.failure: Exception | None = None
        """What ended the program, if it did not end by a key or a signal."""
        self.state = ListState()
        self._data = data
        self._count = count
        self._drawn_at = 0.0
        data.on_scanned = self._draw_sometimes

    def compose(self) -> ComposeResult:
        """Create the widgets of the main screen."""
        yield LineBuffer()
        field = Input(id="filter", placeholder="filter: client, sender, recipient", compact=True)
        field.cursor_blink = False
        yield field

    def on_mount(self) -> None:
        """Start fetching and scanning."""
        # Nothing on the screen moves by itself: an animation costs bytes.
        self.animation_level = "none"
        self._scan()
        self._refresh()

    # Data ---------------------------------------------------------------------------------------

    @work(exit_on_error=False)
    async def _scan(self) -> None:
        try:
            await self._data.scan_store()
        except Exception as error:  # noqa: BLE001 - ends the program, which reports it
            self._fail(error)

    @work(exit_on_error=False)
    async def _refresh(self) -> None:
        """Fetch and draw until ``count`` refreshes are done."""
        shown = 0
        try:
            while True:
                newest = self._data.read_newest([mail.key for mail in self.state.visible])
                await asyncio.gather(self._data.fetch_servers(), newest)
                self.draw()
                shown += 1
                if shown == self._count:
                    self.exit()
                await asyncio.sleep(self._data.pause)
        except Exception as error:  # noqa: BLE001 - ends the program, which reports it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.exit()

    def _draw_sometimes(self) -> None:
        interval = self._data.pause if self.state.rows else _FIRST_ROWS_SECONDS
        if time.monotonic() - self._drawn_at > interval:
            self.draw()

    def draw(self) -> None:
        """Draw the main screen; only what has changed is sent to the terminal."""
        self._drawn_at = time.monotonic()
        self.state.set_rows(self._data.waiting.sorted(self.state.order, self.state.pattern))
        self._draw_lines()

    def _draw_lines(self) -> None:
        if not self.screen_stack:
            return
        buffers = self.screen_stack[0].query(LineBuffer)
        if not buffers:
            return
        buffer = buffers.first()
        size = buffer.size
        if size.width and size.height:
            lines = main_lines(self._data, self.state, size.width, size.height, time.time())
            buffer.set_lines(lines)

    def on_resize(self) -> None:
        """Draw for the new size, once it is in force."""
        self.call_after_refresh(self._draw_lines)

    def action_redraw(self) -> None:
        """Draw everything again."""
        self.refresh(layout=True)

    # Moving and filtering -----------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Select the next or the previous mail."""
        self._select(self.state.index + step)

    def action_page(self, pages: int) -> None:
        """Move by a page."""
        self._select(self.state.index + pages * self.state.page)

    def action_edge(self, end: int) -> None:
        """Select the first or the last mail."""
        self._select(len(self.state.rows) if end else 0)

    def _select(self, index: int) -> None:
        self.state.move_to(index)
        self.state.message = ""
        self._draw_lines()

    def action_sort(self) -> None:
        """Sort by the next order."""
        self.state.order = self.state.order.next()
        self.draw()

    def action_filter(self) -> None:
        """Open the field for the filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()
        self.call_after_refresh(self._draw_lines)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the user types."""
        if event.input.id == "filter":
            self.state.pattern = event.value
            self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close the field; the filter stays."""
        if event.input.id == "filter":
            self._close_filter()

    def _close_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = False
        self.set_focus(None)
        self.call_after_refresh(self._draw_lines)

    def action_clear(self) -> None:
        """Remove the filter and the message."""
        self.query_one("#filter", Input).value = ""
        self.state.pattern = self.state.message = ""
        self._close_filter()
        self.draw()

    # What a key does to the selected mail -------------------------------------------------------

    def _selected(self) -> ListedMail | None:
        if self.state.selected is None:
            self._show_message("no mail is selected", is_error=True)
        return self.state.selected

    def _show_message(self, text: str, *, is_error: bool = False) -> None:
        self.state.message, self.state.is_error = text, is_error
        self.draw()

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(TextDialog("Keys of greyd top", HELP))

    @work
    async def action_explain(self) -> None:
        """Explain the answer that the mail's next attempt would get."""
        if (mail := self._selected()) is None:
            return
        dialog = TextDialog(route_of(mail), "explaining …", "".join(_MAIL_KEYS), _EXPLAIN_KEYS)
        await self.push_screen(dialog, self._act_on_explained)
        try:
            text = await explain_mail(self._data.context, mail, self.size.width)
        except GreydError as error:
            text = str(error)
        except Exception as error:  # noqa: BLE001 - the list stays usable
            text = f"internal error: {describe_error(error)}; please report it"
        if dialog.is_attached:
            dialog.set_text(text)

    async def _act_on_explained(self, key: str | None) -> None:
        """Run the action of the key that closed an explanation."""
        if key is not None:
            await self.run_action(_MAIL_KEYS[key])

    def action_release(self) -> None:
        """Release the mail."""
        if (mail := self._selected()) is not None:
            self._confirm_and_apply(ReleaseMail(mail), mail)

    def action_forget(self) -> None:
        """Forget the mail."""
        if (mail := self._selected()) is not None:
            self._confirm_and_apply(ForgetMail(mail), mail)

    @work
    async def action_expect(self) -> None:
        """Open a window for expected mail."""
        if (mail := self._named()) is None:
            return
        recipient = mail.entry.names.recipient.decode(errors="surrogateescape")
        fields = (
            ("recipient, or @ and a domain:", recipient),
            ("for how long, at most 1d:", "10m"),
            ("only from senders of this domain; empty: from anybody", ""),
        )
        given = await self.push_screen_wait(FormDialog("Expect mail", fields))
        if given is not None:
            recipient, duration, sender = (each.strip() for each in given)
            await self._apply_if_confirmed(ExpectMail(recipient, duration, sender), mail)

    @work
    async def action_whitelist(self) -> None:
        """Whitelist the client, a domain or the recipient."""
        if (mail := self._named()) is None:
            return
        choices = whitelist_choices(mail)
        dialog = ChoiceDialog("Never greylist again", [each.label for each in choices])
        index = await self.push_screen_wait(dialog)
        if index is None:
            return
        fields = (("entry:", choices[index].entry), ("reason, written above it:", ""))
        given = await self.push_screen_wait(FormDialog(choices[index].label, fields))
        if given is not None:
            action = choices[index].action(given[0].strip(), given[1].strip())
            await self._apply_if_confirmed(action, mail)

    def _named(self) -> ListedMail | None:
        """Return the selected mail if the store has its names."""
        mail = self._selected()
        if mail is None or not mail.entry.is_hidden:
            return mail
        self._show_message("with --privacy the store has only hashes", is_error=True)
        return None

    @work
    async def _confirm_and_apply(self, action: MailAction, mail: ListedMail) -> None:
        await self._apply_if_confirmed(action, mail)

    async def _apply_if_confirmed(self, action: MailAction, mail: ListedMail) -> None:
        context = self._data.context
        try:
            question = action.describe(context)
            if not await self.push_screen_wait(ConfirmDialog(question)):
                self._show_message("nothing was changed")
                return
            message = await action.apply(context)
            async with context.open_store() as store:
                await self._data.reread(store, mail.key)
        except GreydError as error:
            self._show_message(str(error), is_error=True)
        except Exception as error:  # noqa: BLE001 - the list stays usable
            text = f"internal error: {describe_error(error)}; please report it"
            self._show_message(text, is_error=True)
        else:
            self._show_message(message)
