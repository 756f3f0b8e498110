"""OpenAI embeddings: texts or token ids in, vectors out (dialects: §5)."""
