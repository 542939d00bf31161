"""The board for a browser: pages and fragments of HTML, the session's cookie, and the files that a page loads."""
