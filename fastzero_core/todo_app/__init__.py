"""The built-in application: users and todos, written once for the shell, Python and HTTP."""
