"""Backup, restore and comparison of any database; what a stack is, is not known here.

target        a database, the programs that fit it, where its backups go
dump          take a backup: pg_dump's stream and a manifest of the same snapshot
restore       plan, verify, restore, undo, reset: into a database beside the one in service, compared, swapped in
scratch       that database, and the role that is made to fill it
fill          pg_restore into it, and the comparison
extensions    those that only a superuser may create there
rehearsal     pending revisions tried on a copy
shelf         the backups of a folder
stats         a database at a glance
psql          an interactive session

manifest      what lies beside a backup; a flipped bit is noticed
content       counts and hashes, by which two databases are compared; writes held meanwhile
server        a server's databases as whole things: made like another, swapped, kept
swap          the renames, and the sessions that they end
properties    what a database has besides its content
roles         the roles of a server, with their memberships
carry         roles, properties and ALTER SYSTEM settings from one server to another
watch         how many rows PostgreSQL's programs have copied
"""
