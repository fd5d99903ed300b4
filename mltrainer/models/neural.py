"""Neural networks: layers of weighted sums and bends, and the single neurons they were made from."""

from functools import partial

from sklearn.linear_model import Perceptron, Ridge, SGDRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mltrainer.models.base import Family, Method, ModelSpec, scaled
from mltrainer.models.combiners import RadialBasis, Sided
from mltrainer.models.noise import PER_COLUMN

MLP = Method(
    "mlp",
    "Multilayer perceptron",
    r"\hat y = w_L^\top h_{L-1} + b_L,\quad h_l = \max(0, W_l h_{l-1} + b_l),\quad h_0 = x",
    "the target is a smooth combination of learned features; rows are many for each weight",
    "interactions nobody named; with little signal, mostly a flexible memory",
    "O(epochs n p m) for m hidden units",
    "Rumelhart, Hinton and Williams (1986), Nature 323; Gu, Kelly and Xiu (2020) for returns",
)
RBF = Method(
    "rbf-network",
    "Radial basis function network",
    r"\hat y(x) = b + \sum_j w_j \exp\left(-\frac{\lVert x - c_j \rVert^2}{2 w^2}\right)",
    "what matters is how close a day is to a few typical ones",
    "a smooth mixture of regimes",
    "O(n p m) for m centers",
    "Broomhead and Lowe (1988), Complex Systems 2; Moody and Darken (1989)",
)
PERCEPTRON = Method(
    "perceptron",
    "Perceptron",
    r"w \leftarrow w + c_i x_i \text{ if } c_i\, w^\top x_i \le 0,\quad c_i = \mathrm{sign}\, y_i",
    "a plane separates up days from down days, which on returns it does not",
    "the first learning machine, as a yardstick for directions",
    "O(epochs n p)",
    "Rosenblatt (1958), Psychological Review 65",
)
AGGRESSIVE = Method(
    "passive-aggressive",
    "Passive-aggressive regression",
    r"w \leftarrow w + \mathrm{sign}(e_i) \min\left(C, \frac{\max(0, |e_i| - \epsilon)}{\lVert x_i \rVert^2}\right) x_i"
    r",\quad e_i = y_i - w^\top x_i",
    "small errors are noise; a large one should be mended at once, but by no more than C",
    "streams of data; C says how far one day may move the weights",
    "O(epochs n p)",
    "Crammer et al. (2006), JMLR 7, variant PA-I",
)
SGD = Method(
    "sgd",
    "Stochastic gradient descent",
    r"w \leftarrow w - \eta_t \bigl((w^\top x_i - y_i)\, x_i + \alpha w\bigr),\quad \eta_t = \eta_0\, t^{-1/4}",
    "a linear law; rows are drawn in random order",
    "ridge regression for data that do not fit into memory",
    "O(epochs n p)",
    "Robbins and Monro (1951), Annals of Mathematical Statistics 22; Bottou (2010)",
)

spec = partial(ModelSpec, family="neural")

DECAY = (
    "Weight decay is 25, far above the default: a unit is kept from a correlation of 0.05 with 500 labels on. It may"
    " leave a constant: no signal found."
    " Training ends when the loss stalls within 0.001; no random rows are held out to stop early, as their labels would"
    " overlap with the rest."
)
CENTERS = (
    "k-means centers, Gaussian closeness with the median distance as width, then ridge: not in scikit-learn. The"
    " penalty is 495 for each center, see RidgeRegression."
)
SIDES = (
    "It says up or down and no probability: the size of the forecast is what following it earned on train rows after"
    " those learned from, at least 0.02 sd."
)
PA = (
    "PA-I runs in SGDRegressor, as scikit-learn advises since it deprecated the class of this name. C is 0.00001 and"
    " the weights are averaged over all steps: the least six epochs then go as far as RidgeRegression's penalty lets."
)
LONG = "ConvergenceWarning 'Maximum iterations' would say that 1,000 epochs were too few; on real days 150 were enough."
PENALTY = "The penalty alpha is 20 for a row, which is that of RidgeRegression, 35,000, at 1,750 rows."
network = partial(spec, method=MLP, reading=DECAY, warns=LONG)


def _mlp(*units: int) -> Pipeline:
    return scaled(
        MLPRegressor(
            hidden_layer_sizes=units, alpha=25.0, learning_rate_init=0.003, max_iter=1_000, tol=1e-3,
            n_iter_no_change=5, early_stopping=False, random_state=0,
        )
    )  # fmt: skip


def _rbf(centers: int) -> Pipeline:
    return scaled(Ridge(PER_COLUMN * centers), RadialBasis(centers), StandardScaler())


PA_I = SGDRegressor(
    loss="epsilon_insensitive", penalty=None, learning_rate="pa1", eta0=1e-5, average=True, random_state=0
)

SPECS = (
    network("MLP_10", estimator=_mlp(10), cost=1.5),
    network("MLP_20", estimator=_mlp(20), cost=1.5),
    network("MLP_10_5", estimator=_mlp(10, 5), cost=1.5),
    network("MLP_20_10", estimator=_mlp(20, 10), cost=1.6),
    network("MLP_50", estimator=_mlp(50), cost=1.2),
    spec("RBFNetwork_5_centers", RBF, _rbf(5), 0.4, reading=CENTERS),
    spec("RBFNetwork_10_centers", RBF, _rbf(10), 0.6, reading=CENTERS),
    spec(
        "Perceptron",
        PERCEPTRON,
        Sided(scaled(Perceptron(random_state=0))),
        0.14,
        task="classifier",
        takes=frozenset({"horizon"}),
        reading=SIDES,
    ),
    spec("PassiveAggressiveRegressor", AGGRESSIVE, scaled(PA_I), 0.08, reading=PA),
    spec("SGDRegressor", SGD, scaled(SGDRegressor(alpha=20.0, random_state=0)), 0.1, reading=PENALTY),
)

FAMILY = Family(
    "neural",
    "Neural networks",
    "The return is a composition of simple bends of weighted sums of the features. "
    "There are enough independent days to learn hundreds of weights, which daily data hardly offer. "
    "The optimizer's path, its seed and its stopping are part of the model.",
    "Do learned features see anything that linear models and trees miss?",
    "Little data and little signal: the fit is noise with confidence, and differs from seed to seed.",
    SPECS,
)
