"""Bytes to frames and back, without meaning: headers, server-sent events, content codings, JSON splicing."""
