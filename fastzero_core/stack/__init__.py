"""The stack: what runs where. `spec` and `plan` are pure; a runtime observes and applies; `Stack` joins them."""
