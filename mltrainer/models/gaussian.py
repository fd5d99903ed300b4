"""Gaussian processes: a distribution over functions, conditioned on the days seen; every forecast has a deviation."""

from functools import partial
from math import sqrt

from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern, RationalQuadratic, WhiteKernel

from mltrainer.models.base import Family, Method, ModelSpec
from mltrainer.models.forecasters import RecentGaussianProcess

PROCESS = Method(
    "gaussian-process",
    "Gaussian process regression",
    r"\hat y(x) = k(x)^\top (K + \sigma^2 I)^{-1} y,\quad"
    r" s^2(x) = k(x, x) + \sigma^2 - k(x)^\top (K + \sigma^2 I)^{-1} k(x)",
    "the target is a smooth random function of the features plus normal noise; the kernel is right",
    "forecasts that say how unsure they are, and more so far from the days seen",
    "O(n^3) time and O(n^2) memory",
    "Rasmussen and Williams (2006), Gaussian Processes for Machine Learning",
)

spec = partial(ModelSpec, method=PROCESS, family="gaussian", max_train_rows=2_000, gives=frozenset({"deviation"}))

# Typical rows are sqrt(2) apart. Below a length of 0.5 the kernel is an identity, and signal passes for noise.
LENGTH = (0.5, 10.0)
SIGNAL, NOISE, MIX = (0.01, 2.0), (0.3, 2.0), (0.1, 10.0)
POLICY = (
    "Conditioned on the latest 2,000 rows; signal, length and noise are chosen on about 400 of them, spread evenly so"
    " that labels overlap little. Lengths are in standardized features divided by sqrt(p)."
)
WIDTH = (
    "gamma is no parameter of a Gaussian process: length = 1/sqrt(2 gamma) = {:.2f}, in standardized features divided"
    " by sqrt(p), without which no two days are close. Signal 0.1 and noise 0.9 of the variance are fixed."
)
BOUNDS = (
    "ConvergenceWarning 'close to the specified bound' is silenced: on returns the likelihood often prefers the weakest"
    " signal allowed."
)
chosen = partial(spec, reading=POLICY, warns=BOUNDS)


def _chosen(shape: Kernel) -> RecentGaussianProcess:
    kernel = ConstantKernel(0.1, SIGNAL) * shape + WhiteKernel(0.9, NOISE)
    return RecentGaussianProcess(kernel, choose_on=400)


def _fixed(gamma: float) -> RecentGaussianProcess:
    shape = RBF(1 / sqrt(2 * gamma), "fixed")
    return RecentGaussianProcess(ConstantKernel(0.1, "fixed") * shape + WhiteKernel(0.9, "fixed"))


SPECS = (
    chosen("GaussianProcess_RBF", estimator=_chosen(RBF(1.0, LENGTH)), cost=4.2),
    chosen("GaussianProcess_Matern", estimator=_chosen(Matern(1.0, LENGTH, nu=1.5)), cost=3.8),
    chosen("GaussianProcess_RationalQuadratic", estimator=_chosen(RationalQuadratic(1.0, 1.0, LENGTH, MIX)), cost=5.8),
    spec("GaussianProcess_gamma_0.1", estimator=_fixed(0.1), cost=2.0, reading=WIDTH.format(1 / sqrt(0.2))),
    spec("GaussianProcess_gamma_0.5", estimator=_fixed(0.5), cost=2.1, reading=WIDTH.format(1.0)),
)

FAMILY = Family(
    "gaussian",
    "Gaussian processes",
    "The return is a smooth function of the features plus normal noise. "
    "The kernel says how fast the function may change, and its signal and noise are constant over time. "
    "Only the latest 2,000 days are asked, because cost grows with the cube of their number.",
    "How uncertain is this forecast, and is today unlike anything seen?",
    "Fat tails and changing volatility, which a normal with constant noise does not know.",
    SPECS,
)
