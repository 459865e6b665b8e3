"""Programs that render files from the code: the options page, manual pages, shell completions."""
