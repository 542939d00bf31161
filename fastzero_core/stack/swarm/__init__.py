"""The swarm runtime: services of a Docker Swarm."""
