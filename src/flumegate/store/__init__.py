"""The database of records. Control owns the one connection that writes; everything else reads."""
