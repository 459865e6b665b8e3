"""Other worlds, which show how far the figures depend on the parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.outcome.parameters import Parameters


def _more(kind: str, factor: float) -> Callable[[Parameters], Parameters]:
    """Return a change that multiplies the mail of the kinds whose names contain ``kind``."""

    def change(world: Parameters) -> Parameters:
        good, bad = (
            {name: share * factor if kind in name else share for name, share in each.items()}
            for each in (world.good, world.bad)
        )
        return replace(world, good=good, bad=bad)

    return change


VARIATIONS: dict[str, Callable[[Parameters], Parameters]] = {
    "the usual guesses": lambda world: world,
    "half the mail of great pools": _more("great pool", 0.5),
    "twice the mail of great pools": _more("great pool", 2),
    "twice as many misconfigured servers": _more("misconfigured", 2),
    "four times as many home servers": _more("home server", 4),
    "few correspondences are a single mail": lambda world: replace(world, one_off=0.1),
    "half of the organisations have SPF": lambda world: replace(world, spf=0.5),
    "the whitelist has nobody": lambda world: replace(world, dnswl=0.0, great_dnswl=0.0),
    "lists know half as many": lambda world: replace(
        world, pbl=world.pbl / 2, xbl=world.xbl / 2, css=world.css / 2, dbl=world.dbl / 2
    ),
    "lists learn in two days": lambda world: replace(world, listing_hours=48.0),
    "four times as many bots with clean names": _more("bot with a clean name", 4),
    "four times as many hacked web servers": _more("hacked", 4),
}
"""By what is different: the world made from the usual one."""
