"""From the text of a formula to quantities: tokens, tree, letters, products, operators, and what is read from them."""
