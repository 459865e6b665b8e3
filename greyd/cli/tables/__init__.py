"""Tables of the commands, for terminals of every width and for pipes.

A command declares the columns of a table once, and prints rows of any type::

    from greyd.cli.tables.column import TableColumn, Kind, Meaning

    COLUMNS = (
        TableColumn("state", Kind.VERDICT, lambda mail: mail.state, meaning=state_meaning),
        TableColumn("last seen", Kind.TIME, lambda mail: mail.last_seen, label="seen", priority=3),
        TableColumn("sender", Kind.ADDRESS, lambda mail: mail.sender, label="from"),
        TableColumn("tries", Kind.NUMBER, lambda mail: mail.tries),
    )
    context.print_rows(COLUMNS, mails)

On a terminal the columns shrink to fit: addresses keep their beginning and their domain, other
names their beginning and end, and texts wrap between words. If that is not enough, the columns with
the highest ``priority`` numbers are left out, and a line below the table names them; below
``MAX_CARD_WIDTH`` columns, or if nothing else fits, each row becomes a card, which has all columns
(a table of figures stays one while it can).
In a pipe nothing is shortened, left out or coloured, and times are absolute. No line has trailing
blanks. Values are escaped: no control character reaches the output.

Modules:
    column: ``TableColumn``, ``Kind`` and ``Meaning``.
    rendering: ``TableWriter`` for rows that come one group at a time; ``render_table``.
    cell_text: ``format_value``, ``relative_time``: a value as text.
    shorten: ``shorten_address``, ``shorten_middle``, ``cell_width``, ``wrap_words``.
    sorting: ``parse_sort`` for ``--sort``, ``sorted_rows``, and ``FirstRows``, which keeps the
        first rows of a large store in bounded memory.
    limit: ``Limit`` for ``--limit``, and ``more_line``: "… and 412 more; --limit=0 shows all".
    watch: ``Watch`` for ``--watch``, and ``watch``, which runs a command's output repeatedly.
"""
