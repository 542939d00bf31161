"""The migrations that the tests expect, oldest first: revision → what its file says of it."""

MESSAGES = {
    "0001": "users",
    "0002": "todos",
    "0003": "login failures",
    "0004": "accounts",
    "0005": "fields of todos",
    "0006": "indexes of fields",
    "0007": "history of todos",
    "0008": "external ids",
    "0009": "lists",
    "0010": "calendars",
    "0011": "cost of history",
}
REVISIONS = list(MESSAGES)
HEAD = REVISIONS[-1]
NEXT = f"{len(REVISIONS) + 1:04}"  # the number of a new one
