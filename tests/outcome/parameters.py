"""The parameters of the simulated world: how much mail of which kind, and how well lists know it.

They are guesses, made once so that version 0.1.0 has about the effect that other simulations and
postmasters have seen. ``python -m tests.outcome --vary`` shows what depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DAYS = 60


@dataclass(frozen=True)
class Parameters:
    """A simulated world; ``seed`` decides everything that is left to chance."""

    seed: int = 1
    days: int = DAYS
    good_per_day: float = 220.0
    """Good mails a day to the site's users."""
    bad_per_day: float = 500.0
    users: int = 150
    good: dict[str, float] = field(
        default_factory=lambda: {
            "single server": 0.324,
            "several servers in turn": 0.07,
            "great pool with SPF": 0.12,
            "great pool without SPF": 0.08,
            "newsletter": 0.15,
            "mailing list": 0.08,
            "one-time code": 0.04,
            "customer of a hoster": 0.04,
            "forwarder": 0.025,
            "misconfigured server": 0.05,
            "home server": 0.006,
        }
    )
    """The kinds of good senders, by their share of the good mail."""
    bad: dict[str, float] = field(
        default_factory=lambda: {
            "bot on a dial-up line": 0.67,
            "bot with a clean name": 0.018,
            "bot behind +all": 0.01,
            "bot in its own SPF record": 0.0025,
            "hacked web server": 0.003,
            "spamming customer of a hoster": 0.003,
            "retrying spamware": 0.1,
            "snowshoe": 0.12,
            "compromised account": 0.05,
        }
    )
    """The kinds of bad senders, by their share of the bad mail."""
    one_off: float = 0.4
    """The share of correspondences of a single mail."""
    mean_mails: float = 9.0
    """The mean number of mails in the other correspondences."""
    outbound: float = 0.3
    """The share of personal correspondences that begin with a mail of the local user."""
    spf: float = 0.85
    """The share of small organisations with an SPF record."""
    pbl: float = 0.85
    """The share of dial-up lines that the policy list contains."""
    xbl: float = 0.6
    """The share of bots that the list of exploited machines comes to contain."""
    css: float = 0.6
    """The share of snowshoe addresses that the list of spam sources comes to contain."""
    dbl: float = 0.75
    """The share of spammers' domains that the domain list comes to contain."""
    listing_hours: float = 8.0
    """The mean time from the first spam to the listing."""
    dnswl: float = 0.25
    """The share of small organisations on the whitelist."""
    great_dnswl: float = 0.9
    """The same of great providers."""
    code_pools: float = 0.1
    """The share of services whose codes come from a pool of addresses that others use too."""
    repeated: float = 0.012
    """The share of bots' mails that another bot's mail with the same triplet follows by chance."""


BOTS = frozenset(
    {
        "bot on a dial-up line", "bot with a clean name", "bot behind +all",
        "bot in its own SPF record", "hacked web server", "spamming customer of a hoster",
    }
)  # fmt: skip
"""The kinds of bad senders that mostly do not retry, so that greylisting stops them."""
