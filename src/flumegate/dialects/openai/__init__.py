"""OpenAI's dialects: chat, legacy completions, responses, embeddings; one error shape for all."""
