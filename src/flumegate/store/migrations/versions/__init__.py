"""One module a revision. What has been released is never edited: it tells what databases look like."""
