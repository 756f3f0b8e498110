"""Facts of models as data: limits, abilities, prices. The facts stand in `models.toml`, the questions in `lookup`."""
