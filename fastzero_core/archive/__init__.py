"""Archive a database's write-ahead log and base backups, and recover from them to a point in time."""
