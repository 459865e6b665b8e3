"""Mail logs: their files, lines and times, the decisions in them, and the attempts behind them."""
