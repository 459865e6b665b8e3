"""Look for octets that break a target: ``python -m tests.fuzz [TARGET …] --seconds 60``.

Needs atheris (``pip install 'greyd[fuzz]'``). What breaks a target is put into its corpus, for
``test_corpus`` to replay; what is merely new is forgotten, or kept in ``--keep FOLDER``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("policy", "whitelist", "settings", "records")
LONGEST = 8192
SLOW_SECONDS = 5
MAX_MIB = 1024


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process, and end it."""
    import atheris

    with atheris.instrument_imports(include=["greyd"]):
        from tests.fuzz.targets import TARGETS

    words = folder / "words"
    words.write_text(dictionary(name))
    found = folder / name
    found.mkdir(exist_ok=True)
    atheris.Setup(
        [
            f"tests.fuzz.{name}", str(found), str(CORPUS / name), f"-max_total_time={seconds}",
            f"-artifact_prefix={CORPUS / name}/", f"-max_len={LONGEST}", f"-dict={words}",
            f"-timeout={SLOW_SECONDS}", f"-rss_limit_mb={MAX_MIB}", "-print_final_stats=1",
        ],
        TARGETS[name],
    )  # fmt: skip
    atheris.Fuzz()


def dictionary(name: str) -> str:
    """Return words that mean something to a target, in libFuzzer's form."""
    from greyd.config.options import OPTIONS
    from greyd.rules.request import Request

    words = {
        "policy": [f"{field}=" for field in Request._fields] + ["smtpd_access_policy", "::ffff:"],
        "whitelist": ["192.0.2.", "2001:db8::", "/24", "example.", "(?i:", "[[:alpha:]]", "{1000}"],
        "settings": [f"--{option.name}=" for option in OPTIONS] + [o.key for o in OPTIONS],
        "records": ["1700000000", ",", "-1", "prvs=", "0123456789="],
    }
    return "".join(f'"{word}"\n' for word in words[name])


def main() -> int:
    """Fuzz the targets that are named, or all, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", type=Path, help="folder that keeps what is new")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if given.here:
        fuzz(given.targets[0], given.seconds, given.keep)
    with tempfile.TemporaryDirectory(prefix="greyd-fuzz-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.fuzz", "--here", f"--seconds={given.seconds}"]
        failed = [
            name
            for name in given.targets or NAMES
            # libFuzzer ends its process, so each target has one.
            if subprocess.call([*command, f"--keep={folder}", name])
        ]
    for name in failed:
        sys.stderr.write(f"{name}: broken; see the newest file in {CORPUS / name}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
