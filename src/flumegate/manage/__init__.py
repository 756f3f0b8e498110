"""What operators do with a gateway, as functions: the console, the command line and start-up call the same ones."""
