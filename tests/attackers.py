"""Another local user, who owns a folder that greyd uses and changes it continuously.

    python -m tests.attackers ATTACK FOLDER NAME VICTIM

goes on, as the user nobody, until its input ends. Root starts it.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path

NOBODY = 65534


def put(entry: Path, how: str, victim: Path) -> None:
    """Replace a file as soon as it appears."""
    aside = entry.parent / f"{entry.name}.attack"
    with contextlib.suppress(OSError):
        if how == "link":
            aside.symlink_to(victim)
        elif how == "hard link":
            aside.hardlink_to(victim)
        else:
            aside.write_text("an attacker's\n")
    # As quick as it can be: greyd needs only microseconds for its next step.
    for _ in range(300):
        with contextlib.suppress(OSError):
            entry.lstat()
            break
    with contextlib.suppress(OSError):
        aside.rename(entry)


def attack(how: str, folder: Path, name: str, victim: Path) -> None:
    """Make one change."""
    entry, other = folder / name, folder.parent / f"{folder.name}.away"
    if how == "folder":
        with contextlib.suppress(OSError):
            folder.rename(other)
            folder.symlink_to(victim.parent)
        with contextlib.suppress(OSError):
            if folder.is_symlink():
                folder.unlink()
            other.rename(folder)
        return
    if how == "aside":
        # What greyd makes in the folder before it takes its name, file or folder.
        for each in folder.glob(".*"):
            if not each.name.endswith(".away"):
                with contextlib.suppress(OSError):
                    each.rename(each.with_name(each.name + ".away"))
                    each.symlink_to(victim if each.name[1:4] == "pid" else victim.parent)
        return
    put(entry, how, victim)
    with contextlib.suppress(OSError):
        entry.lstat()
        entry.unlink()


def main() -> None:
    """Attack until the input ends."""
    how, folder, name, victim = sys.argv[1:]
    # Not by who starts it: the interpreter may be where only root can read.
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not select.select([0], [], [], 0)[0] or os.read(0, 1):
        for _ in range(20):
            attack(how, Path(folder), name, Path(victim))


if __name__ == "__main__":
    main()
