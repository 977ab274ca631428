"""The operations that take most of the time, each specified by a reference in plain torch."""
