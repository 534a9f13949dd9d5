"""At which scale does a decision matter? What notebook 06 shows, on rows that are generated for speed alone.

from carmenta_lab import scale

here = scale.measured("mine", largest=3_000)       # a database of its own on the embedded server, dropped at the end
scale.decisions(here)                              # exact search, an index, or another engine, by size of user
scale.decisions(scale.read(scale.kept()))          # the same of the run that is kept with the project
"""

from carmenta_lab.scale.methods import Scale, kept, measured, read
from carmenta_lab.scale.trends import decisions, exponents, extrapolated

__all__ = ["Scale", "decisions", "exponents", "extrapolated", "kept", "measured", "read"]
