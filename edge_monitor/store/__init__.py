"""The database's own files: snapshots, the inspection of foreign ones, and putting one in another's place."""
