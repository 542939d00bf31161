"""Work with PostgreSQL: programs, data directories, servers, roles, URLs, SQL quoting and driver errors."""
