"""The AlphaFold 2 network: configuration, modules, weights."""
