"""Back up, restore and compare any PostgreSQL database. This package does not depend on a stack.

target        a database, the client programs that fit its server, and the folder of its backups
dump          take a backup: the output of pg_dump, and a manifest of the same snapshot
restore       plan, verify, restore, undo, reset: fill a new database next to the live one, compare it, swap it in
scratch       the new database, and the role that fills it
fill          run pg_restore into it, and compare the result
extensions    the extensions that only a superuser can create in it
rehearsal     run pending revisions on a copy
repository    the backups in a folder
stats         the size, the cache hits, the bloat and the index use of a database
psql          an interactive session

manifest      the file next to a backup that describes it; its checksums detect a single changed bit
content       row counts and hashes to compare two databases; the lock that blocks writes
server        create, swap, keep and drop whole databases of a server
swap          the renames, and ending the sessions that block them
properties    the attributes of a database that are not part of its content
roles         the roles of a server, with their memberships
carry         copy roles, properties and ALTER SYSTEM settings from one server to another
watch         report how many rows pg_dump and pg_restore have copied
"""
