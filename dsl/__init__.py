"""Text to checked model: syntax, positions, diagnostics, names, shapes, printer."""
