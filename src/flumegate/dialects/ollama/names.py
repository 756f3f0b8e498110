"""The names of this room's codecs, and the one family that they are."""

from __future__ import annotations

FAMILY = "ollama"
CHAT = "ollama_chat"
GENERATE = "ollama_generate"
EMBED = "ollama_embed"
EMBEDDINGS = "ollama_embeddings"
MEDIA_TYPE = "application/x-ndjson"
