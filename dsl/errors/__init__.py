"""Every diagnostic of the language, one named function each, by topic."""
