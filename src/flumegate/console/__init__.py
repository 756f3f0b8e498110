"""The console: the management API of a gateway, served by control on a loopback address of its own."""
