"""What is kept: events, the log's record, and the stores that hold them."""
