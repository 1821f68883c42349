"""What a claim may be held against: one reading for each kind of object. Importing this package registers all of them."""

from derive.references import discrete_laws, equations, laws, plain, symmetries

__all__ = ["discrete_laws", "equations", "laws", "plain", "symmetries"]
