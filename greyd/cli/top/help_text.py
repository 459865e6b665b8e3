"""The help of ``greyd top``."""

HELP = """\
Moving
  ↑ ↓, k j    previous, next mail
  PgUp PgDn   a page up, down
  Home End    first, last mail; also g G
  /           filter by typing: words in the
              client, sender or recipient
  Enter       in the filter: to the list
  Esc         show all mail again
  s           sort in the next order

The selected mail
  Enter       explain the answer to its next
              attempt, step by step
  r           release it: its next attempt
              passes
  w           whitelist its client, a domain
              or its recipient
  e           expect mail for its recipient
              for a while
  f           forget it: its next attempt is
              greylisted as new

r, w, e, f say what they will do, and ask.

The list
  waits       since the first attempt
  passes      when an attempt passes: in 4m,
              at retry if the delay is over,
              or released. Narrow terminals
              show it below the list.

The list has the 1,000 mails with the latest
attempts. The charts show the last hour of
all servers, from their metrics ports.

  Ctrl-L      redraw the screen
  q           end
"""
