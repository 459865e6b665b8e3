"""Run the commands in the pages: ``make docs-test``, ``tests/integration/test_docs_commands.py``.

Every block of a page has a language, which determines how it is run, and may have a title, which
names its file::

    ```sh                                       commands: run, each must exit with status 0
    ```console                                  commands after "$ ", and their output, with … for
                                                variable parts: run and compared
    ```cf title="/etc/postfix/main.cf"          parameters: set, checked by Postfix, mail is sent
    ```ini title="/etc/systemd/system/…"        a unit: written, checked by systemd-analyze
    ```ini title="/etc/default/…"               variables: written, read by a shell
    ```toml title="/etc/greyd/greyd.toml"       settings: written, read by greyd
    ```yaml title="PATH"                        written, and read as YAML
    ```text title="PATH"                        any other file: written; greyd reads whitelists
    ```exim title="…"                           Exim's: checked in tests/integration/test_exim.py
    ```log                                      lines of greyd's log: the reasons must be greyd's

Any other block, including an indented one, is an error, so that no block is skipped. Only in
README.md titles may be missing.

A page runs on a disposable machine (``machine.py``): this machine's files under an overlay, with
separate process and network namespaces. The pages use the real paths and ports, and leave no
changes. ``stand_ins.py`` lists the programs that cannot run there, each with the reason.
"""
