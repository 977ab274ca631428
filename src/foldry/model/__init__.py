"""The AlphaFold 2 network: its configuration and its modules."""
