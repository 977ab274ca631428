"""Parameters: official and OpenFold tables, conversion, download, the bundled network."""
