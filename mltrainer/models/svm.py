"""Support vector machines: small errors are free, large ones cost, and a kernel bends the line."""

from functools import partial
from typing import Any

from sklearn.svm import SVR, LinearSVR, NuSVR

from mltrainer.models.base import Family, Method, ModelSpec, scaled
from mltrainer.models.forecasters import Bounded

SUPPORT = Method(
    "svr",
    "Support vector regression",
    r"\min_w \tfrac{1}{2} \lVert w \rVert^2 + C \sum_i \max(0, |y_i - f(x_i)| - \epsilon),"
    r"\quad f(x) = \sum_i \alpha_i k(x_i, x) + b",
    "errors below epsilon do not matter; rows close under the kernel behave alike",
    "smooth nonlinear fits with bounded pull of extreme days",
    "O(n^2 p) to O(n^3)",
    "Vapnik (1995); Drucker et al. (1997); Smola and Schölkopf (2004)",
)
NU = Method(
    "nu-svr",
    "Nu support vector regression",
    r"\min_{w,\epsilon} \tfrac{1}{2} \lVert w \rVert^2"
    r" + C \bigl(n \nu \epsilon + \sum_i \max(0, |y_i - f(x_i)| - \epsilon)\bigr)",
    "as support vector regression; at most a share nu of the rows errs beyond epsilon",
    "choosing the share of support vectors instead of the width of the tube",
    "O(n^2 p) to O(n^3)",
    "Schölkopf, Smola, Williamson and Bartlett (2000), Neural Computation 12",
)
LINEAR = Method(
    "linear-svr",
    "Linear support vector regression",
    r"\min_w \tfrac{1}{2} \lVert w \rVert^2 + C \sum_i \max(0, |y_i - x_i w| - \epsilon)^2",
    "a linear law; errors below epsilon do not matter",
    "the linear machine at the price of a ridge regression",
    "O(n p) per Newton step",
    "Fan et al. (2008), JMLR 9; Ho and Lin (2012), JMLR 13",
)

spec = partial(ModelSpec, family="svm", max_train_rows=10_000)

HALF = "C is 0.1, below the default of 1, as returns are mostly noise."
SOFT = (
    "C is {}: it bounds the pull of a row, and with k(x, x) = {} that is the signal of 1 % of the variance which"
    " RidgeRegression assumes, a fifth of it for each of five labels that overlap."
)
UNIT = SOFT.format(0.002, 1)
CUBES = f"{UNIT} Forecasts keep to the range of the train targets, as cubes explode outside it."
INDEFINITE = (
    "tanh(x'z / p - 1) is an indefinite kernel, so the solution is a stationary point and perhaps not the optimum;"
    f" gamma = 1/p and a negative offset keep it close to a valid one. {UNIT}"
)
SQUARED = (
    "The squared loss outside the tube, solved in the primal: the default, in the dual, stops before it converges."
    " C is taken literally, a thousand times too large for returns: nearly least squares, its forecast mostly noise."
)


def _kernel(kernel: str, C: float = 0.002, **shape: Any) -> Any:
    return scaled(SVR(kernel=kernel, C=C, epsilon=0.1, **shape))


def _linear(C: float) -> Any:
    return scaled(LinearSVR(C=C, epsilon=0.1, loss="squared_epsilon_insensitive", dual=False, random_state=0))


SPECS = (
    spec("SVR_rbf", SUPPORT, _kernel("rbf"), 0.99, reading=UNIT),
    spec("SVR_linear", SUPPORT, _kernel("linear", 3e-5), 1.6, reading=SOFT.format("0.00003", 70)),
    spec("SVR_poly", SUPPORT, Bounded(_kernel("poly", degree=3)), 0.94, reading=CUBES),
    spec("SVR_sigmoid", SUPPORT, _kernel("sigmoid", gamma="auto", coef0=-1.0), 1.5, reading=INDEFINITE),
    spec("NuSVR_nu_0.1", NU, scaled(NuSVR(nu=0.1, C=0.1)), 0.22, reading=HALF),
    spec("NuSVR_nu_0.5", NU, scaled(NuSVR(nu=0.5, C=0.1)), 0.89, reading=HALF),
    spec("LinearSVR_C_0.1", LINEAR, _linear(0.1), 0.15, reading=SQUARED),
    spec("LinearSVR_C_1.0", LINEAR, _linear(1.0), 0.21, reading=SQUARED),
)

FAMILY = Family(
    "svm",
    "Support vector machines",
    "Small errors are noise and cost nothing; large ones cost in proportion, so one crash cannot dominate. "
    "Under a kernel, days that are close behave alike, with closeness measured on all standardized features. "
    "The kernel's width and C are fixed in advance, not tuned on the target.",
    "Is there a smooth nonlinear relation that survives fat tails?",
    "Why a forecast is what it is; panels above 10,000 rows, where cost grows with the square.",
    SPECS,
)
