"""Pictures: the model as a graph, a schedule unrolled in time, and what turns DOT text into files."""
