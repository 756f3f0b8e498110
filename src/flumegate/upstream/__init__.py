"""The only outbound I/O of the data plane: connection pool, one call, error mapping."""
