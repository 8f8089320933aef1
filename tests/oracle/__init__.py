"""The oracle: exact laws of small models by brute force in float64.

It is written from the language's definition of the energy alone, with naive loops, and imports nothing of `gmc.compiler`: what the
compiler does with fields, colours, kernels and passes is held against tables made here. Families and factors are
told apart by their registered word; their arguments are read by name.

`sites` numbers what there is, `energy` is the definition, `laws` the exact laws, `sweeps` what a sampler does to a law, `stats`
compares samples with a law, `broken` holds samplers that the suite must catch, `models` small programs to try it all on.
"""
