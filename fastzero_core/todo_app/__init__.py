"""The built-in application: users and todos, implemented once for the shell, Python and HTTP."""
