"""The settings of the shadow, which decides each request a second time (``--shadow``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.config.options import BY_NAME
from greyd.config.own_domains import read_own_domains
from greyd.config.settings import merge_settings
from greyd.config.sources import RawSetting
from greyd.config.vocabulary import DECIDING_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.config.settings import Settings


_DECIDING_FIELDS = ("delays", *(BY_NAME[name].field for name in DECIDING_SETTINGS))


def setting_changes(changes: Iterable[tuple[str, str]], where: str) -> list[RawSetting]:
    """Return changed settings as a source for ``merge_settings``.

    Args:
        changes: names, each one of ``DECIDING_SETTINGS``, and values.
        where: the option that has the changes, for messages.
    """
    return [RawSetting(BY_NAME[name], text, f"{where}: {name}") for name, text in changes]


def with_shadow(settings: Settings, sources: Sequence[Iterable[RawSetting]]) -> Settings:
    """Return settings, completed with those of their shadow if ``--shadow`` is given.

    The mode of the shadow is ``on`` unless ``--shadow mode=…`` sets another one.

    Args:
        settings: the settings.
        sources: the sources that they are merged from.

    Raises:
        SettingsError: a changed value is invalid, or contradicts another one.
    """
    if not settings.shadow:
        return settings
    changes = setting_changes([("mode", "on"), *settings.shadow], "--shadow")
    changed = read_own_domains(merge_settings(changes, *sources))
    fields = {name: getattr(changed, name) for name in _DECIDING_FIELDS}
    keys = tuple({**dict(settings.list_keys), **dict(changed.list_keys)}.items())
    shadow = replace(settings, shadow=(), warnings=(), list_keys=keys, **fields)
    # All other warnings are already among those of the settings.
    warnings = [warning for warning in changed.warnings if warning.startswith("--shadow")]
    return replace(settings, shadow_settings=shadow, warnings=(*settings.warnings, *warnings))
