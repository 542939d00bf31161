"""Database care: dump, restore and compare, and what follows from them.

target        a database, the programs that fit it, where its backups go
dump          backup: pg_dump's stream and a manifest of the same snapshot
restore       verify, restore, undo, reset: into a database beside the one in service, compared, swapped in
shelf         the backups of a folder
stats         a database at a glance

manifest      what lies beside a backup; a flipped bit is noticed
content       counts and hashes, by which two databases are compared
server        databases as whole things: made like another, swapped, kept
programs      pg_dump, pg_restore and psql of this machine; container: those of a container
progress      how far a command is, for who wants to hear of it
files         whole or not there
watch         how many rows they have copied
"""
