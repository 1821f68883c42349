"""What a claim may be held against: one reading for each kind of object. Importing this package registers all of them."""

from derive.references import concrete, differential, discrete_laws, equations, ito_laws, laws, plain, series, symmetries

__all__ = ["concrete", "differential", "discrete_laws", "equations", "ito_laws", "laws", "plain", "series", "symmetries"]
