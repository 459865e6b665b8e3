"""Runs what the pages show: ``make docs-test``, and ``tests/integration/test_docs_commands.py``.

Every block of a page has a language, which says what is done with it, and may have a title, which
is the file that it belongs in::

    ```sh                                       commands: run, each must end with status 0
    ```console                                  commands behind "$ ", and what they answer, with …
                                                for what differs: run and compared
    ```cf title="/etc/postfix/main.cf"          parameters: set, checked by Postfix, mail is sent
    ```ini title="/etc/systemd/system/…"        a unit: written, checked by systemd-analyze
    ```ini title="/etc/default/…"               variables: written, read by a shell
    ```toml title="/etc/greyd/greyd.toml"       settings: written, read by greyd
    ```yaml title="PATH"                        written, and read as YAML
    ```text title="PATH"                        any other file: written; greyd reads whitelists
    ```exim title="…"                           Exim's: checked in tests/integration/test_exim.py
    ```log                                      lines of greyd's log: the reasons must be greyd's

Anything else, a block that is only indented too, is an error: no block is passed over unseen. In
README.md alone, titles may be missing.

A page runs on a throw-away machine (``machine.py``): this machine's files under an overlay, with
process and network namespaces of its own. So pages use the real paths and ports, and nothing that
they do stays. What can't be had there is in the table of ``stand_ins.py``, each with its reason.
"""
