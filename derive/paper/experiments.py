# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of section 7 and appendix J: counts of symmetries, sizes, settings. Tables 4 and 5.

A count is compared with what is found in the traced network (:mod:`torch_bridge.paper_counts`).
"""

from __future__ import annotations

import sympy as sp

from derive.paper.claim import Compared, Measured, NotJudged, PaperClaim
from derive.paper.objects import derived
from derive.symbols import lr

CHANNELS = sum((2 * 64, 2 * 128, 3 * 256, 3 * 512, 3 * 512))
"""Output channels of VGG-16's convolutions, as App. J adds them."""
IMAGE = "the 3 more are the image's channels, which no parameter writes"
PIXELS = "2,048 inputs of the first linear layer are the pixels of 512 channels that were counted before; and " + IMAGE
COLUMNS = "one for each of the 1,024 columns of the last weight, as section 3 says, and the bias; the paper counts 200 rows, which are no symmetries"


def _side_of_the_integral() -> str:
    """On which side of eq. 19 the integral stands; on the left is the charge alone."""
    return "right" if derived("solve(law(scale(), sgd()))").expr.has(sp.Integral) else "left"


SECTION_7 = (
    PaperClaim("Sect. 7, combinations", "7", "VGG-16 with batch norm has this many combinations whose dynamics are described.",
               Measured(12751, "all, with batch norm", "the sum of Table 5's row; the certified generators are independent"), "12{,}751"),
)  # fmt: skip

APPENDIX_J = (
    PaperClaim("App. J, data", "J", "100,000 images of 64 × 64 pixels in 200 classes.", NotJudged("definition", "facts about a data set")),
    PaperClaim("App. J, fully connected layers", "J", "“2048, 2048, and 200 layers”: units of the second hidden layer.",
               Measured(2048, "hidden units", "with 1,024 the network has Table 5's parameters; App. J counts 2048 + 1024 + 1024 inputs itself"), "2048, 2048, 200",
               remark="The sizes are 2048 inputs, 1024 and 1024 hidden units, 200 outputs."),
    PaperClaim("Table 4", "J", "The settings that were combined: runs of the figures that are not among them.",
               Measured(0, "runs outside Table 4", "the runs of Fig. 6, whose caption has λ = 5·10⁻³ and S = 256 with momentum"), slip=True, remark="All other captions agree with the table. It names the dampening 0, so that time is η × steps."),
    PaperClaim("App. J, scale, sum", "J", "The sum of channels that gives the count of scale symmetries.", Compared(lambda: sp.Integer(4227), lambda: sp.Integer(CHANNELS + 3), "the printed sum"), r"2\cdot64+2\cdot128+3\cdot256+3\cdot512+3\cdot512+3 = 4{,}227",
               remark="The sum is right; the 3 does not belong in it, see Table 5."),
    PaperClaim("App. J, rescale, sum", "J", "The sum that gives the count of rescale symmetries.", Compared(lambda: sp.Integer(8323), lambda: sp.Integer(CHANNELS + 3 + 2048 + 1024 + 1024), "the printed sum"), r"4{,}227 + (2048+1024+1024) = 8{,}323",
               remark="The sum is right; what it adds is not, see Table 5."),
    PaperClaim("Table 5, parameters, VGG-16", "J", "Parameters.", Measured(18067464, "parameters, without batch norm"), "18{,}067{,}464"),
    PaperClaim("Table 5, parameters, VGG-16 w/ BN", "J", "Parameters.", Measured(18075912, "parameters, with batch norm"), "18{,}075{,}912"),
    PaperClaim("Table 5, scale, VGG-16", "J", "Scale symmetries.", Measured(0, "scale, without batch norm"), "0"),
    PaperClaim("Table 5, scale, VGG-16 w/ BN", "J", "Scale symmetries.", Measured(4227, "scale, with batch norm", IMAGE), "4{,}227"),
    PaperClaim("Table 5, rescale, VGG-16", "J", "Rescale symmetries.", Measured(8323, "rescale, without batch norm", PIXELS), "8{,}323"),
    PaperClaim("Table 5, rescale, VGG-16 w/ BN", "J", "Rescale symmetries.", Measured(8323, "rescale, with batch norm", PIXELS + "; with batch norm the writer is its γ and β, see below"), "8{,}323"),
    PaperClaim("Table 5, translation, VGG-16", "J", "Translation symmetries.", Measured(201, "translation, without batch norm", COLUMNS), "201"),
    PaperClaim("Table 5, translation, VGG-16 w/ BN", "J", "Translation symmetries.", Measured(201, "translation, with batch norm", COLUMNS), "201"),
    PaperClaim("Table 5, shifts, VGG-16 w/ BN", "J", "No symmetries of biases before batch norm are listed.", Measured(0, "shift, with batch norm", "batch norm subtracts the bias of the convolution before it: the gradient of each is exactly 0"),
               remark="Each is a translation symmetry of a single parameter."),
    PaperClaim("Table 5, totals, VGG-16", "J", "The sum of the row, which is not printed.", Measured(8323 + 201, "all, without batch norm", "the sum of the rows above"), "8{,}323 + 201"),
    PaperClaim("App. J, rescale with batch norm", "J", "Pairs of convolutions are rescale symmetries with batch norm as without: pairs that are none.",
               Measured(0, "broken pairs with batch norm", "measured on a small VGG-16 in float64: batch norm undoes the scaling of what comes before it; the pair is its γ and β with the next weights")),
    PaperClaim("App. J, Riemann sum", "J", "The sum over steps is to be scaled by the learning rate, the grid of the integral.", Compared(lambda: lr, lambda: derived("sgd()").step_size, "sgd().step_size"),
               remark="Without dampening, as in Table 4; else η(1 − α)."),
    PaperClaim("App. J, sides", "J", "The side of eqs. 18 to 20 that the integral buffers give.", Compared(lambda: "left", _side_of_the_integral, "where the integral stands in the solution"),
               slip=True, remark="The two sides are exchanged: model states give the left side, buffers the right."),
)  # fmt: skip
