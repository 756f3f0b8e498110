"""OpenAI embeddings: texts or token ids in, vectors out (dialects: §5)."""

from __future__ import annotations

from flumegate.dialects.codecs import EmbeddingCodec
from flumegate.dialects.openai.embeddings.read import NAME, read_answer, read_request
from flumegate.dialects.openai.embeddings.write import write_answer, write_request
from flumegate.dialects.openai.errors import read_error

EMBEDDING_CODEC = EmbeddingCodec(NAME, "openai", read_request, write_request, read_answer, write_answer, read_error)
