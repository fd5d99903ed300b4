"""Linear models: the forecast is a weighted sum of features; they differ in how they guard against believing noise."""

from functools import partial
from typing import Any

import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    OrthogonalMatchingPursuit,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    TheilSenRegressor,
)
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mltrainer.models.base import Family, Method, ModelSpec, scaled
from mltrainer.models.forecasters import (
    Bounded,
    ClassMeans,
    Components,
    Consensus,
    PricedVolatility,
    QuantileForecaster,
    RecursiveForecaster,
)
from mltrainer.models.noise import COLUMNS, ENTRY, OVERLAP, SHRINKAGE

# A month between the inner train and test rows: labels of up to 21 sessions do not reach across, and where they are
# longer the evaluation widens the gap.
INNER = TimeSeriesSplit(n_splits=5, gap=22)
ALPHAS = np.geomspace(0.005, 0.1, 10)  # from nearly all columns to none, on targets with sd 1
L1 = [0.1, 0.5, 0.9]

OLS = Method(
    "ols",
    "Ordinary least squares",
    r"\hat\beta = \arg\min_\beta \lVert y - X\beta \rVert_2^2",
    "errors have mean zero given X and equal variance; columns are not collinear",
    "the yardstick every other linear model must beat; overfits when columns are many and rows few",
    "O(n p^2), by singular values rather than the normal equations",
    "Legendre (1805); Greene (2018), Econometric Analysis, ch. 4",
)
RIDGE = Method(
    "ridge",
    "Ridge regression",
    r"\hat\beta = \arg\min_\beta \lVert y - X\beta \rVert_2^2 + \alpha \lVert \beta \rVert_2^2",
    "many small effects, none exactly zero; columns on one scale",
    "collinear indicators: shares weight among copies instead of playing them against each other",
    "O(n p^2)",
    "Hoerl and Kennard (1970), Technometrics 12",
)
LASSO = Method(
    "lasso",
    "Lasso",
    r"\hat\beta = \arg\min_\beta \tfrac{1}{2n} \lVert y - X\beta \rVert_2^2 + \alpha \lVert \beta \rVert_1",
    "few columns matter; the rest have weight zero",
    "a short list of indicators; arbitrary among near copies",
    "O(n p) per sweep of coordinate descent",
    "Tibshirani (1996), JRSS B 58",
)
ELASTIC_NET = Method(
    "elastic-net",
    "Elastic net",
    r"\hat\beta = \arg\min_\beta \tfrac{1}{2n} \lVert y - X\beta \rVert_2^2"
    r" + \alpha \rho \lVert \beta \rVert_1 + \tfrac{\alpha (1-\rho)}{2} \lVert \beta \rVert_2^2",
    "groups of related columns matter together",
    "selection that keeps groups of correlated indicators instead of one member",
    "O(n p) per sweep",
    "Zou and Hastie (2005), JRSS B 67",
)
BAYESIAN_RIDGE = Method(
    "bayesian-ridge",
    "Bayesian ridge",
    r"y \sim N(X\beta, \alpha^{-1} I),\quad \beta \sim N(0, \lambda^{-1} I)",
    "normal errors and one common normal prior whose precision the evidence chooses",
    "shrinkage without cross-validation, with a standard deviation for each forecast",
    "O(n p^2), then O(p) per iteration",
    "MacKay (1992), Neural Computation 4; Tipping (2001)",
)
ARD = Method(
    "ard",
    "Automatic relevance determination",
    r"\beta_j \sim N(0, \lambda_j^{-1}),\quad \lambda_j \to \infty \Rightarrow \beta_j = 0",
    "each column has its own prior precision; most are irrelevant",
    "Bayesian selection: irrelevant indicators are pruned by the evidence",
    "O(n p^2 + p^3) per iteration",
    "MacKay (1994); Wipf and Nagarajan (2007)",
)
POLYNOMIAL = Method(
    "polynomial",
    "Polynomial ridge regression",
    r"\hat y = \sum_{|a| \le d} \beta_a \prod_j z_j^{a_j},\quad z = \mathrm{PCA}(x)",
    "smooth interactions of a few directions; the future stays where the past has been",
    "volatility-times-momentum effects; dangerous outside the range it was fitted on",
    "O(n q^2), q the number of monomials",
    "Gergonne (1815); Hastie, Tibshirani and Friedman (2009), ch. 5",
)
HUBER = Method(
    "huber",
    "Huber regression",
    r"\min_{\beta,\sigma} \sum_i \sigma + \sigma H_\epsilon\!\left(\tfrac{y_i - x_i\beta}{\sigma}\right)"
    r" + \alpha \lVert \beta \rVert_2^2",
    "normal errors in the middle, heavier tails outside 1.35 scales",
    "fat-tailed returns: a crash day pulls with bounded force but is not dropped",
    "O(n p) per iteration",
    "Huber (1964), Annals of Mathematical Statistics 35",
)
THEIL_SEN = Method(
    "theil-sen",
    "Theil-Sen estimator",
    r"\hat\beta = \mathrm{spatial\ median}_S\ \arg\min_\beta \lVert y_S - X_S \beta \rVert_2^2",
    "most small subsets of rows are free of gross errors",
    "trend estimates that a few wild days cannot move",
    "O(s k p^2) for s subsets of k rows",
    "Theil (1950); Sen (1968), JASA 63; Dang et al. (2008)",
)
RANSAC = Method(
    "ransac",
    "Random sample consensus",
    r"\max_\beta \#\{i : |y_i - x_i \beta| \le t\}, \text{ then refit on those rows}",
    "rows are either inliers of one linear law or to be ignored",
    "bad prints and one-off events; wrong where the tail is the point, because crashes count as outliers",
    "O(trials n p^2)",
    "Fischler and Bolles (1981), CACM 24",
)
QUANTILE = Method(
    "quantile",
    "Linear quantile regression",
    r"\min_\beta \tfrac{1}{n} \sum_i \rho_q(y_i - x_i\beta) + \alpha \lVert \beta \rVert_1,"
    r"\quad \rho_q(u) = u\,(q - 1_{u<0})",
    "the q-quantile is linear in the features; no shape of the error is assumed",
    "value at risk and forecast intervals (q = 0.1, 0.9), a robust center (q = 0.5); scored by pinball loss",
    "a linear program, about O(n^1.6) here",
    "Koenker and Bassett (1978), Econometrica 46",
)
OMP = Method(
    "omp",
    "Orthogonal matching pursuit",
    r"j_{k+1} = \arg\max_j |x_j^\top r_k|,\quad r_{k+1} = y - X_{J} \hat\beta_{J}",
    "few columns matter and can be found greedily, one at a time",
    "a fast sparse baseline: a handful of columns",
    "O(k n p)",
    "Pati, Rezaiifar and Krishnaprasad (1993)",
)
LARS = Method(
    "lars",
    "Least angle regression",
    r"\text{move } \hat\beta \text{ along the equiangular direction of the columns most correlated with } y - X\beta",
    "few columns matter; the order in which they enter is informative",
    "the whole lasso path for the price of one least-squares fit",
    "O(n p k) for k steps",
    "Efron, Hastie, Johnstone and Tibshirani (2004), Annals of Statistics 32",
)
PLS = Method(
    "pls",
    "Partial least squares",
    r"w_k = \arg\max_{\lVert w \rVert = 1} \mathrm{cov}(X_k w, y)^2,\quad \hat y = \sum_k q_k X_k w_k",
    "a few latent factors drive features and target together",
    "many weak, correlated predictors compressed with the target in view, as the three-pass filter does",
    "O(k n p)",
    "Wold (1966); Kelly and Pruitt (2015), Journal of Econometrics 186",
)
LOGIT = Method(
    "logit",
    "Logistic regression",
    r"P(y > 0 \mid x) = (1 + e^{-x\beta})^{-1},\quad \hat y = \sum_k P(k \mid x)\, \bar y_k",
    "log-odds of the direction are linear in the features",
    "direction rather than size: large moves count no more than small ones",
    "O(n p) per iteration",
    "Cox (1958), JRSS B 20",
)
GAMMA = Method(
    "gamma",
    "Gamma regression for volatility",
    r"|y| \sim \Gamma,\ \ln E[|y| \mid x] = x\beta,\quad \hat y = \bar y + \lambda\,(v(x) - \bar v)",
    "the size of moves is predictable and a constant price of risk pays for it",
    "volatility, the one thing that is reliably forecastable; the return forecast is only its premium",
    "O(n p^2) per Newton step",
    "McCullagh and Nelder (1989), ch. 8; Merton (1980), Journal of Financial Economics 8",
)
RLS = Method(
    "rls",
    "Recursive least squares",
    r"\hat\beta_t = \hat\beta_{t-1} + K_t\,(y_t - x_t \hat\beta_{t-1})",
    "constant coefficients about which each day tells a little more",
    "updating through the test block without refitting; watching coefficients drift",
    "O(n p^2) for all rows together",
    "Plackett (1950), Biometrika 37; Durbin and Koopman (2012)",
)

spec = partial(ModelSpec, family="linear")

LITERAL = (
    "Nothing is left to choose. Labels of five sessions overlap, so 700 rows tell 70 columns as much as 140 would: the"
    " forecast is then mostly noise and its out-of-sample R² far below zero."
)
PRIOR = (
    "The penalty is 35,000 = 5 x 70 x 99: as if 70 columns together explained 1 % of the variance, and a row counted a"
    " fifth, as labels of five sessions overlap."
)
THRESHOLD = (
    "alpha is {}: a column enters from a correlation of 0.05 with the label on, half of what would explain 1 % of the"
    " variance, and about one standard error; scikit-learn's default of 1 forecasts a constant."
)
WALK = (
    "The penalty is chosen by five inner walk-forward splits with a gap of 22 rows, or as long as labels take to be"
    " known, as shuffled or left-out rows ignore time."
)
NOTHING = " Where the largest penalty does best the forecast is constant: no signal found."
MOVED = (
    "The quantile is kept for pinball loss and intervals; the point forecast is the quantile moved to the mean, so that"
    " it varies with the volatility which moves the quantile."
)
MONOMIALS = (
    "The monomials are built on {} principal components, cut at 3 sd, and not on all columns, then ridge; forecasts"
    " keep to the range of the train targets. The penalty is 100,000: 5 x 99 for each of some 250 monomials, see"
    " RidgeRegression."
)
BAYES = (
    "The evidence takes labels that overlap for independent ones, so the prior is not flat: it is centered on the"
    " penalty of RidgeRegression and weighs as much as the columns. ARDRegression has a prior for each of them."
)
RELEVANCE = (
    "The evidence takes labels that overlap for independent ones, so the priors are not flat: each is centered on the"
    " penalty of RidgeRegression and weighs as much as a column. Irrelevant columns keep that penalty."
)
SUBSETS = "2,000 subsets of 50 rows on 10 principal components: subsets of 61 rows on 60 columns are as noisy as slow."
OUTLIERS = (
    "An outlier is a residual beyond 2 sd of the target: the default, one median deviation, would ignore almost half"
    " the days. `inlier_share_` says how many were kept. Inliers meet a ridge with a penalty of 35,000, see"
    " RidgeRegression."
)
BIC = (
    "The criterion takes labels that overlap for independent ones, so it keeps too many columns. It may choose none as"
    " well; the forecast is then constant: no signal found."
)
PICKED = (
    "Three columns, not the default of a tenth: their weights are not shrunk, and one picked by luck out of 70 costs"
    " about 2.5 % of the variance."
)
UNSHRUNK = (
    "Three components, the number in the name, whose weights are not shrunk: they follow the noise of the train labels"
    " as well, and the out-of-sample R² is below zero."
)
CLASSES = "The classes are returns above and below the train mean; the forecast is P(class) times the class's mean."
PRICED = "Forecasts the size of the move; a constant price of risk, estimated on the train rows, makes it a return."
ONLINE = (
    "On 15 principal components, as collinear columns leave the recursion no start; `filter` updates through new rows"
    " as their labels become known."
)


def _centered(columns: int) -> dict[str, float]:
    """Gamma prior of the weights' precision around the penalty of ridge regression, which has unit noise as well."""
    weight = columns * OVERLAP / 2  # half a column's evidence is what one weight tells, here as often as labels overlap
    return {"lambda_1": weight, "lambda_2": weight / SHRINKAGE}


def _polynomial(components: int, degree: int, alpha: float) -> Bounded:
    monomials = PolynomialFeatures(degree, include_bias=False)
    return Bounded(scaled(Ridge(alpha), Components(components), monomials, StandardScaler()))


def _theil_sen() -> Pipeline:
    return scaled(TheilSenRegressor(max_subpopulation=2_000, n_subsamples=50, random_state=0), Components(10))


def _ransac() -> Pipeline:
    return scaled(Consensus(Ridge(SHRINKAGE), min_samples=0.5, residual_threshold=2.0, random_state=0))


def _quantile(q: float) -> QuantileForecaster:
    return QuantileForecaster(scaled(QuantileRegressor(quantile=q, alpha=0.01, solver="highs")))


def _walk(kind: type[Any], **knobs: Any) -> Pipeline:
    return scaled(kind(alphas=ALPHAS, cv=INNER, tol=1e-3, max_iter=10_000, **knobs))


def _direction(classifier: Any) -> ClassMeans:
    return ClassMeans(scaled(classifier))


def _gamma() -> PricedVolatility:
    return PricedVolatility(scaled(GammaRegressor(alpha=0.1, solver="newton-cholesky", max_iter=1_000)))


DEVIATION = frozenset({"deviation"})
quantile = partial(spec, task="quantile", reading=MOVED, max_train_rows=10_000, gives=frozenset({"quantile"}))

# fmt: off
SPECS = (
    spec("LinearRegression", OLS, scaled(LinearRegression()), 0.07, reading=LITERAL),
    spec("RidgeRegression", RIDGE, scaled(Ridge(SHRINKAGE)), 0.04, reading=PRIOR),
    spec("LassoRegression", LASSO, scaled(Lasso(ENTRY)), 0.05, reading=THRESHOLD.format(ENTRY)),
    spec("ElasticNet", ELASTIC_NET, scaled(ElasticNet(2 * ENTRY, l1_ratio=0.5)), 0.07,
         reading=THRESHOLD.format(2 * ENTRY)),
    spec("BayesianRidge", BAYESIAN_RIDGE, scaled(BayesianRidge(**_centered(COLUMNS))), 0.08, gives=DEVIATION,
         reading=BAYES),
    spec("PolynomialRegression_degree_2", POLYNOMIAL, _polynomial(20, 2, 100_000.0), 0.2, reading=MONOMIALS.format(20)),
    spec("PolynomialRegression_degree_3", POLYNOMIAL, _polynomial(10, 3, 100_000.0), 0.2, reading=MONOMIALS.format(10)),
    spec("HuberRegressor", HUBER, scaled(HuberRegressor(alpha=SHRINKAGE, max_iter=2_000)), 0.1, reading=PRIOR),
    spec("TheilSenRegressor", THEIL_SEN, _theil_sen(), 1.1, reading=SUBSETS, max_train_rows=5_000),
    spec("RANSACRegressor", RANSAC, _ransac(), 1.5, reading=OUTLIERS),
    quantile("QuantileRegressor_q0.1", QUANTILE, _quantile(0.1), 1.8),
    quantile("QuantileRegressor_q0.5", QUANTILE, _quantile(0.5), 2.4),
    quantile("QuantileRegressor_q0.9", QUANTILE, _quantile(0.9), 1.6),
    spec("OrthogonalMatchingPursuit", OMP, scaled(OrthogonalMatchingPursuit(n_nonzero_coefs=3)), 0.03, reading=PICKED),
    spec("LassoLars", LARS, scaled(LassoLars(ENTRY)), 0.07, reading=THRESHOLD.format(ENTRY)),
    spec("ARDRegression", ARD, scaled(ARDRegression(threshold_lambda=1e5, **_centered(1))), 0.32, gives=DEVIATION,
         reading=RELEVANCE),
    spec("Lars", LARS, scaled(Lars(n_nonzero_coefs=10)), 0.03, reading="The path is stopped after ten columns."),
    spec("LassoLarsIC_bic", LARS, scaled(LassoLarsIC(criterion="bic")), 0.13, reading=BIC),
    spec("RidgeCV", RIDGE, scaled(RidgeCV(alphas=np.geomspace(1, 1e5, 11), cv=INNER)), 1.0, reading=WALK),
    spec("LassoCV_walkforward", LASSO, _walk(LassoCV), 0.16, reading=WALK + NOTHING),
    spec("ElasticNetCV_walkforward", ELASTIC_NET, _walk(ElasticNetCV, l1_ratio=L1), 0.55, reading=WALK + NOTHING),
    spec("PLSRegression_3", PLS, scaled(PLSRegression(3, scale=False)), 0.04, reading=UNSHRUNK),
    spec("LogisticRegression", LOGIT, _direction(LogisticRegression(C=0.01)), 0.07, task="classifier", reading=CLASSES),
    spec("GammaRegressor_volatility", GAMMA, _gamma(), 0.06, task="volatility", gives=DEVIATION, reading=PRICED),
    spec("RecursiveLS", RLS, RecursiveForecaster(scaled(Components(15))), 0.45, task="online", follows="labels",
         reading=ONLINE),
)
# fmt: on

FAMILY = Family(
    "linear",
    "Linear models",
    "Tomorrow's return is a weighted sum of today's features, plus noise that is much larger than the sum. "
    "The weights do not change between the train and the test years. "
    "What separates the models is only how they keep 60 weights from fitting the noise: penalties, priors, fewer"
    " columns, or less trust in extreme days.",
    "Is there a stable, additive lead in these indicators, and which of them carry it?",
    "Thresholds, interactions and regimes: an effect that changes sign averages out to nothing.",
    SPECS,
)
