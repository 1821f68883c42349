"""What Kunin et al. 2021 claim, equation by equation, re-derived and judged.

:data:`derive.paper.claims.CLAIMS` says what is printed where and what it is held against,
:mod:`derive.paper.judging` judges, :mod:`derive.paper.writing` writes it down. ``nmech paper`` prints it.
"""
