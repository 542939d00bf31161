"""The stack of a project. `spec` and `plan` are pure; a runtime observes and applies; `Stack` combines them."""
