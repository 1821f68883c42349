"""All claims of the paper, in its order."""

from __future__ import annotations

from collections.abc import Iterable

from derive.paper.claim import PaperClaim
from derive.paper.conservation import APPENDIX_B, SECTION_4
from derive.paper.experiments import APPENDIX_J, SECTION_7
from derive.paper.geometry import APPENDIX_A, SECTION_3
from derive.paper.laws import APPENDIX_E, APPENDIX_F, APPENDIX_G, SECTION_6
from derive.paper.learning import APPENDIX_C, APPENDIX_D, SECTION_5
from derive.paper.solutions import APPENDIX_H
from derive.paper.steps import APPENDIX_I

CLAIMS: tuple[PaperClaim, ...] = (
    *SECTION_3, *SECTION_4, *SECTION_5, *SECTION_6, *SECTION_7, *APPENDIX_A, *APPENDIX_B, *APPENDIX_C, *APPENDIX_D,
    *APPENDIX_E, *APPENDIX_F, *APPENDIX_G, *APPENDIX_H, *APPENDIX_I, *APPENDIX_J,
)  # fmt: skip
"""Every numbered equation, entry of a table, stated count, and displayed formula or sentence that can be computed."""


def chosen(only: str | None, claims: Iterable[PaperClaim] = CLAIMS) -> tuple[PaperClaim, ...]:
    """The claims at a place: ``"eq. 16"``, ``"Table 5"`` with all its entries, ``"App. F"``; None: all.

    >>> [claim.place for claim in chosen("eq. 3")]
    ['eq. 3']

    Raises
    ------
    ValueError
        If nothing stands there.
    """
    if only is None:
        return tuple(claims)
    wanted = " ".join(only.lower().replace("equation", "eq.").split())
    wanted = f"eq. {wanted.strip('()')}" if wanted.strip("()").isdigit() else wanted
    found = [claim for claim in claims if claim.place.lower() == wanted]
    found = found or [claim for claim in claims if claim.place.lower().startswith((f"{wanted},", f"{wanted}."))]
    if not found:
        raise ValueError(f"only: expected a place such as 'eq. 16', 'Table 5' or 'App. F', got {only!r}")
    return tuple(found)
