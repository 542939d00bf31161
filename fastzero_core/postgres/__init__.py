"""PostgreSQL itself: its programs, servers, URLs, statements and what its errors mean."""
