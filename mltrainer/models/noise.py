r"""How much of a return there is to know: the one assumption behind every penalty that a name leaves open.

Features explain about 1 % of the variance of a weekly return (Campbell and Thompson, 2008, find that much worth
having), and labels of five sessions overlap, so that a row counts a fifth. With p standardized columns that share in
this alike, weights have a prior variance of 0.01 / p, and the penalty of ridge regression that says so is

.. math:: \alpha = h\, p\, \frac{1 - R^2}{R^2} = 5 \cdot 70 \cdot 99 \approx 35{,}000

(Hoerl, Kennard and Baldwin, 1975). It is set before any result is seen and is the same for every share.
"""

KNOWABLE = 0.01  # share of the variance
OVERLAP = 5  # sessions of a label at the default horizon
COLUMNS = 70
PER_COLUMN = OVERLAP * (1 - KNOWABLE) / KNOWABLE  # penalty for a column of variance 1, or a kernel with k(x, x) = 1
SHRINKAGE = 35_000.0  # PER_COLUMN * COLUMNS, to two digits
ENTRY = 0.05  # half the correlation of a column that explains KNOWABLE alone, and one standard error at 2,000 rows
LEAF = 10 * OVERLAP  # rows of a leaf: ten labels that do not overlap
