"""The command line: one file a command, each a few lines that call a plain function."""
