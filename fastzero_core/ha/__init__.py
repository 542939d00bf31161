"""A database with standbys: Patroni's configuration and interface, and the programs of its image."""
