"""The `flumegate` command: each file is one command, imported only when it is called."""
