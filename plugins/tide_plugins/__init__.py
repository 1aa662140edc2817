"""The bundled components, on the same footing as anybody's plugins."""
