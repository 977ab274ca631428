"""The operations that cost the time, each with its reference."""
