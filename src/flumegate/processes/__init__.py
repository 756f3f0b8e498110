"""The processes of one gateway: supervisor, control and workers, and what passes between them."""
