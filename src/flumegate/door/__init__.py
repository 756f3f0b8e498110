"""Inbound HTTP/1.1 of the data plane: protocol, limits, health and metrics answers."""
