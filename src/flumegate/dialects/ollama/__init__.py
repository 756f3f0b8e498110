"""Ollama's own API: chat, generate, embeddings, as a provider's dialect and as a client's (dialects: §7).

JSON lines instead of server-sent events, streamed unless the request says otherwise; errors are plain strings.
"""
