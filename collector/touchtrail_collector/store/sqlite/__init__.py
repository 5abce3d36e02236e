"""SQLite: the first engine, and the only place with SQL."""
