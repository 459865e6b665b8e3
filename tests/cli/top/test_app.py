"""The keys of ``greyd top``, pressed on a screen without a terminal."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from textual.widgets import Input

from greyd.cli.top.interface.app import TopApp
from greyd.cli.top.interface.dialogs import ConfirmDialog, TextDialog
from greyd.cli.top.interface.line_buffer import LineBuffer
from tests.cli.top.mails import MAIL, data_of, key_of
from tests.commands import CHECKOUT, content

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from textual.pilot import Pilot


class Screen:
    """The application at work."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def shows(self, text: str) -> None:
        """Wait until the text is on the screen."""
        for _ in range(200):
            # A long text is wrapped, a long path anywhere.
            if "".join(text.split()) in "".join(self.text().split()):
                return
            await self.pilot.pause(0.02)
        raise AssertionError(f"{text!r} is not in:\n{self.text()}")

    def text(self) -> str:
        """Return what is on the whole screen, dialogs included."""
        width = self.app.size.width
        return (
            "\n".join(
                "".join(segment.text for segment in strip).rstrip()
                for strip in self.app.screen._compositor.render_strips()
            )
            + f"\n{width} columns"
        )

    @property
    def buffer(self) -> LineBuffer:
        return self.app.screen_stack[0].query_one(LineBuffer)


def with_screen(
    folder: Path,
    do: Callable[[Screen], Awaitable[Any]],
    size: tuple[int, int] = (80, 24),
    mail: dict[bytes, bytes] | None = None,
    **options: Any,
) -> TopApp:
    """Run the application on a store with this mail."""
    data = data_of(folder, mail, **options)
    app = TopApp(data)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.shows("waiting, newest first")
            await do(screen)

    asyncio.run(run())
    return app


def first_only(folder: Path, do: Callable[[Screen], Awaitable[Any]], **options: Any) -> TopApp:
    """Run the application on a store with a single mail, which is selected."""
    return with_screen(folder, do, mail={key_of(): MAIL[key_of()]}, **options)


@pytest.mark.parametrize("size", [(80, 24), (45, 20)])
def test_the_arrows_move_and_the_letters_of_vi_do_too(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async def do(screen: Screen) -> None:
        state = screen.app.state
        for keys, index in (
            (["down"], 1), (["j", "j"], 3), (["k"], 2), (["up"], 1), (["end"], len(MAIL) - 2),
            (["down"], len(MAIL) - 2), (["home"], 0), (["G"], len(MAIL) - 2), (["g"], 0),
            (["pagedown"], min(state.page, len(MAIL) - 2)), (["pageup"], 0),
        ):  # fmt: skip
            await screen.press(*keys)
            assert state.index == index, keys

    with_screen(tmp_path, do, size)


def test_typing_filters_and_escape_shows_all_again(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("slash", *"carol")
        await screen.shows('1 with "carol"')
        assert "alice@example.com" not in screen.text()
        # The letters of the keys are text while the field is open.
        await screen.press("q", "r")
        await screen.shows("no waiting mail has")
        await screen.press("backspace", "backspace", "enter")
        assert not screen.app.query_one("#filter", Input).display
        await screen.shows('1 with "carol"')
        await screen.press("escape")
        await screen.shows("alice@example.com")

    with_screen(tmp_path, do)


def test_enter_explains_with_the_steps_of_explain(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("enter")
        await screen.shows("alice@example.com to bob@example.org")
        await screen.shows("<alice@example.com>")
        dialog = screen.app.screen
        assert isinstance(dialog, TextDialog)
        await screen.press("end")
        await screen.shows("The store has only the client's network")
        await screen.press("q")
        assert len(screen.app.screen_stack) == 1
        # What the explanation shows can be mended from there.
        await screen.press("enter")
        await screen.shows("r release w whitelist")
        await screen.press("r")
        await screen.shows("Release alice@example.com to")
        await screen.press("y")
        await screen.shows("released: the sender's next attempt passes")

    first_only(tmp_path, do, size=(45, 20))


def test_r_releases_after_a_yes(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("r")
        await screen.shows("Release alice@example.com to")
        await screen.press("n")
        await screen.shows("nothing was changed")
        await screen.press("r")
        await screen.shows("y yes n no")
        await screen.press("y")
        await screen.shows("released: the sender's next attempt passes")
        await screen.shows("1m released 192.0.2.0/24")
        await screen.press("r")
        await screen.shows("y yes n no")
        await screen.press("y")
        await screen.shows("already released")

    first_only(tmp_path, do)
    store = content(f"sqlite:{tmp_path / 'greyd.db'}")
    assert b"released=" in store[key_of()]
    assert any(b"released 1 waiting triplets" in value for value in store.values())


def test_f_forgets_after_a_yes(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("f")
        await screen.shows("Forget that alice@example.com")
        await screen.press("escape")
        assert key_of() in await asyncio.to_thread(content, f"sqlite:{tmp_path / 'greyd.db'}")
        await screen.press("f")
        await screen.shows("y yes n no")
        await screen.press("y")
        await screen.shows("its next attempt is greylisted as new")
        await screen.shows("no mail is waiting")
        await screen.press("f")
        await screen.shows("no mail is selected")

    first_only(tmp_path, do)
    assert key_of() not in content(f"sqlite:{tmp_path / 'greyd.db'}")


def test_e_expects_mail_for_the_recipient(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("e")
        await screen.shows("for how long")
        await screen.press("enter", "backspace", "backspace", "backspace", *"2h")
        await screen.press("enter", *"example.com", "enter")
        await screen.shows(
            "Let all mail from example.com to bob@example.org pass at once for the next 2h?"
        )
        await screen.press("y")
        await screen.shows("mail to bob@example.org from example.com is expected until")
        # What is not a duration is refused, and said.
        await screen.press("e")
        await screen.shows("for how long")
        await screen.press("enter", *"xx", "enter", "enter")
        await screen.shows("for the next 10mxx?")
        await screen.press("y")
        await screen.shows("--for=10mxx")

    first_only(tmp_path, do)


def test_w_whitelists_the_client_or_the_recipient(tmp_path: Path) -> None:
    clients, recipients = tmp_path / "c.local", tmp_path / "r.local"

    # The screen may shorten the folder's name.
    async def do(screen: Screen) -> None:
        await screen.press("w")
        await screen.shows("1 client 192.0.2.0/24")
        await screen.press("2")
        await screen.shows("entry:")
        await screen.press("enter", *"friends", "enter")
        await screen.shows("Add example.com to ")
        await screen.shows("c.local?")
        await screen.press("n")
        await screen.shows("nothing was changed")
        assert not clients.exists()
        await screen.press("w")
        await screen.shows("2 clients whose name is example.com")
        await screen.press("2")
        await screen.shows("entry:")
        await screen.press("enter", *"friends", "enter")
        await screen.shows("Add example.com to ")
        await screen.shows("c.local?")
        await screen.press("y")
        await screen.shows("c.local: example.com")
        await screen.press("w")
        await screen.shows("3 recipient bob@example.org")
        await screen.press("down", "down", "enter")
        await screen.shows("entry:")
        await screen.press("enter", "enter")
        await screen.shows("Add bob@example.org to ")
        await screen.shows("r.local?")
        await screen.press("y")
        await screen.shows("r.local: bob@example.org")
        # An entry that matches nothing is refused before the question.
        await screen.press("w")
        await screen.shows("1 client 192.0.2.0/24")
        await screen.press("1")
        await screen.shows("entry:")
        await screen.press("ctrl+u", *"300.1.2.3", "enter", "enter")
        await screen.shows('"300.1.2.3" –')
        assert len(screen.app.screen_stack) == 1
        await screen.press("w")
        await screen.shows("1 client 192.0.2.0/24")
        await screen.press("escape")
        assert len(screen.app.screen_stack) == 1

    first_only(tmp_path, do, whitelist_clients=(clients,), whitelist_recipients=(recipients,))
    assert "example.com" in clients.read_text()
    assert "friends" in clients.read_text()
    assert "bob@example.org" in recipients.read_text()


def test_no_key_but_y_is_a_yes(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("r")
        await screen.shows("y yes n no")
        await screen.press("enter", "space", "j", "x", "down")
        assert isinstance(screen.app.screen, ConfirmDialog)
        await screen.press("q")
        await screen.shows("nothing was changed")

    first_only(tmp_path, do)


def test_a_store_that_cannot_be_written_is_an_error_on_the_screen(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        with sqlite3.connect(tmp_path / "greyd.db") as other:
            other.execute("BEGIN EXCLUSIVE")
            await screen.press("r")
            await screen.shows("y yes n no")
            await screen.press("y")
            for _ in range(600):
                if screen.app.state.is_error:
                    break
                await screen.pilot.pause(0.02)
            assert "locked" in screen.app.state.message or "store" in screen.app.state.message
            other.rollback()
        other.close()

    first_only(tmp_path, do)


def test_with_privacy_only_what_needs_no_names_is_possible(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("w")
        await screen.shows("with --privacy the store has only hashes")
        await screen.press("e")
        await screen.press("enter")
        await screen.shows("With --privacy the store has only hashes")
        await screen.press("q", "r")
        await screen.shows("y yes n no")
        await screen.press("y")
        await screen.shows("released: the sender's next attempt passes")

    with_screen(tmp_path, do, mail={b"/" + b"a1" * 20: MAIL[key_of()]}, privacy="yes")


def test_the_help_and_the_orders(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.press("question_mark")
        await screen.shows("Keys of greyd top")
        await screen.press("escape", "s")
        await screen.shows("longest wait first")

    with_screen(tmp_path, do, (45, 20))


def test_a_resize_is_followed(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.pilot.resize_terminal(45, 20)
        await screen.shows("sender (client: below)")
        await screen.pilot.resize_terminal(132, 40)
        await screen.shows("s sort")

    with_screen(tmp_path, do)


def test_an_idle_refresh_redraws_nothing(tmp_path: Path) -> None:
    async def do(screen: Screen) -> None:
        await screen.pilot.pause(0.1)
        refreshed: list[object] = []
        buffer = screen.buffer
        original = buffer.refresh

        def refresh(*regions: Any, **options: Any) -> Any:
            refreshed.extend(regions or ["all"])
            return original(*regions, **options)

        buffer.refresh = refresh  # type: ignore[method-assign]
        screen.app.draw()
        assert refreshed == []
        await screen.press("down")
        assert 0 < len(refreshed) <= 6
        assert "all" not in refreshed

    with_screen(tmp_path, do)


def test_count_ends_after_so_many_refreshes(tmp_path: Path) -> None:
    app = TopApp(data_of(tmp_path), count=1)

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            for _ in range(200):
                if app._exit:
                    break
                await pilot.pause(0.02)

    asyncio.run(run())
    assert app.failure is None


def test_only_the_screens_of_top_import_textual() -> None:
    importing = {
        path.parent.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "greyd").rglob("*.py")
        if re.search(r"^ *(from|import) textual", path.read_text(), re.MULTILINE)
    }
    assert importing == {"greyd/cli/top/interface"}
    importing = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "greyd").rglob("*.py")
        if path.parent.name != "interface"
        and re.search(r"^(from|import) greyd\.cli\.top\.interface", path.read_text(), re.MULTILINE)
    }
    assert importing == set()
