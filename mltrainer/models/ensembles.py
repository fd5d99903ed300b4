"""Ensembles: votes, averages, stacks, several horizons at once, and regressions that first leave strange days out."""

from functools import partial
from typing import Any

from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor, IsolationForest, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor, RegressorChain
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM
from sklearn.tree import DecisionTreeRegressor

from mltrainer.models.base import Family, Method, ModelSpec, scaled
from mltrainer.models.combiners import ForwardStack, HorizonDirections, Horizons, Inliers, MajorityVote, Sided
from mltrainer.models.forecasters import OneThread
from mltrainer.models.noise import LEAF, SHRINKAGE

SOFT = Method(
    "voting",
    "Weighted average of forecasts",
    r"\hat y(x) = \sum_k w_k \hat y_k(x) \Big/ \sum_k w_k",
    "the members err differently; the weights are known in advance",
    "a mixture that is rarely worse than its average member",
    "the sum of its members",
    "Bates and Granger (1969), Operational Research Quarterly 20",
)
HARD = Method(
    "majority-vote",
    "Majority vote on the direction",
    r"\hat y(x) = m\, \mathrm{sign} \sum_k \mathrm{sign}\, \hat y_k(x)",
    "each member is right more often than not, independently of the others",
    "the direction alone, where members disagree about sizes",
    "twice the sum of its members",
    "Condorcet (1785); Lam and Suen (1997), IEEE Transactions on SMC 27",
)
BAGGING = Method(
    "bagging",
    "Bagged trees",
    r"\hat y(x) = \tfrac{1}{B} \sum_b T_b(x),\quad T_b \text{ on a bootstrap of the rows}",
    "trees are unstable: on other rows they would be other trees; rows are not near copies",
    "variance reduction that leaves bias as it is",
    "O(B n p log n)",
    "Breiman (1996), Machine Learning 24; López de Prado (2018), ch. 4 and 6",
)
STACKING = Method(
    "stacking",
    "Stacked generalization",
    r"\hat y(x) = g\bigl(f_1(x), \dots, f_m(x)\bigr),\quad"
    r" g \text{ learned on forecasts of later rows than the } f_k \text{ had seen}",
    "which member to trust is stable over time and can be learned from its past forecasts",
    "weights that come from a record and not from a taste",
    "about 3.3 fits of every member",
    "Wolpert (1992), Neural Networks 5; Breiman (1996), Machine Learning 24",
)
COMBINATION = Method(
    "nnls-combination",
    "Forecast combination with non-negative weights",
    r"\min_{a,\, w \ge 0} \sum_t \Bigl(y_t - a - \sum_k w_k \hat y_{k,t}\Bigr)^2",
    "no member deserves to be bet against; weights are stable over time",
    "dropping members that add nothing; all weights may be zero",
    "about 3.3 fits of every member",
    "Granger and Ramanathan (1984), Journal of Forecasting 3; Timmermann (2006)",
)
SEVERAL = Method(
    "multi-output",
    "One model per horizon",
    r"\hat y^{(k)}(x) = f_k(x),\quad k \in \{1, 5, 21\}",
    "each horizon has its own law",
    "a term structure of forecasts; no horizon learns from another",
    "the sum over horizons",
    "Borchani et al. (2015), WIREs Data Mining 5",
)
CHAIN = Method(
    "regressor-chain",
    "Chain of regressions",
    r"\hat y^{(k)}(x) = f_k\bigl(x, \hat y^{(1)}, \dots, \hat y^{(k-1)}\bigr)",
    "other horizons, forecast first, tell something that x alone does not",
    "horizons that hang together; with linear links almost a regression on x (Frisch and Waugh)",
    "the sum over horizons",
    "Spyromitros-Xioufis et al. (2016), Machine Learning 104",
)
DIRECTIONS = Method(
    "classifier-chain",
    "Chain of classifiers",
    r"P(c_k \mid x) = \sigma\bigl(\beta_k^\top [x, P(c_1), \dots, P(c_{k-1})]\bigr)",
    "the direction over one horizon depends on those over the others",
    "joint directions of a session, a month and the label",
    "the sum over horizons",
    "Read, Pfahringer, Holmes and Frank (2011), Machine Learning 85",
)
ISOLATION = Method(
    "isolation-forest",
    "Isolation forest, then ridge regression",
    r"s(x) = 2^{-\mathrm{E}[h(x)] / c(n)},\quad h \text{ the depth at which random cuts isolate } x",
    "strange days are few and far out, and follow another law than the rest",
    "a law of ordinary days; the score tells how ordinary today is",
    "O(B n log n)",
    "Liu, Ting and Zhou (2008), ICDM",
)
BOUNDARY = Method(
    "one-class-svm",
    "One-class support vector machine, then ridge regression",
    r"\min_{w, \rho} \tfrac{1}{2} \lVert w \rVert^2 - \rho + \tfrac{1}{\nu n} \sum_i \max(0, \rho - w \cdot \phi(x_i))",
    "ordinary days fill a smooth region of the feature space",
    "a boundary around ordinary days",
    "O(n^2 p)",
    "Schölkopf et al. (2001), Neural Computation 13",
)
FACTOR = Method(
    "lof",
    "Local outlier factor, then ridge regression",
    r"\mathrm{LOF}(x) = \frac{1}{k} \sum_{i \in N_k(x)} \mathrm{lrd}(x_i) \Big/ \mathrm{lrd}(x)",
    "strange is what is lonelier than its own neighbors, whatever the density there",
    "days that are odd for their regime, and not regimes that are odd",
    "O(n^2 p)",
    "Breunig, Kriegel, Ng and Sander (2000), SIGMOD",
)

spec = partial(ModelSpec, family="ensembles")

MEMBERS = "Members: ridge (penalty 35,000, see RidgeRegression), 30 extremely randomized trees, 20 small boosted trees"
WEIGHTS = f"{MEMBERS}; weights 2, 1, 1."
VOTE = (
    "Only classifiers can vote hard, so forecasts vote by sign. The size is what following the vote earned on train"
    f" rows after those learned from, at least 0.02 sd. {MEMBERS}."
)
UNIQUE = (
    "Each tree draws a fifth of the rows, as labels of five sessions overlap and one day in five is news; leaves hold"
    " at least 10 rows, each split may use every column. Few trees average little of their noise away."
)
FORWARD = (
    "The final model learns from forecasts of the last two thirds of the train rows in four blocks, each made from rows"
    " a gap of 22 or more before it; scikit-learn's own stacks on shuffled or future rows."
)
FINAL_TREE = f"{FORWARD} Final: a tree of depth 3, leaves of at least a tenth of the rows."
FINAL_RIDGE = f"{FORWARD} Final: ridge with penalty 100."
NONNEGATIVE = f"{FORWARD} Where no member helps, all weights are zero: a constant forecast, no signal found."
TARGETS = (
    "Targets: log returns over 1 and 21 sessions, from the return column of X (cut at its outer 1 % by the protocol),"
    " and the label, which alone is judged; the last 22 train rows, which lack a month, are left out."
)
APART = f"{TARGETS} By definition the horizons do not touch each other."
LINKS = f"{TARGETS} The label comes last in the chain and reads the others."
RIDGES = f"{LINKS} Each is a ridge with a penalty of 35,000, see RidgeRegression."
STRANGE = (
    "It has no target of its own: the strangest 5 % of the train rows are left out and a ridge (penalty 35,000) learns"
    " from the rest. No day to forecast is left out; `anomaly_score` says how strange it is."
)


def _boosting() -> OneThread:
    return OneThread(
        max_iter=20, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=40, early_stopping=False, random_state=0
    )


def _members() -> list[tuple[str, Any]]:
    trees = ExtraTreesRegressor(30, min_samples_leaf=LEAF, max_features=1 / 3, random_state=0, n_jobs=1)
    return [("ridge", scaled(Ridge(SHRINKAGE))), ("trees", trees), ("boosting", _boosting())]


def _bagging(trees: int) -> BaggingRegressor:
    return BaggingRegressor(
        DecisionTreeRegressor(min_samples_leaf=10), trees, max_samples=0.2, random_state=0, n_jobs=1
    )


def _stack(final: Any) -> ForwardStack:
    return ForwardStack([member for _, member in _members()], final)


def _usual(detector: Any) -> Inliers:
    return Inliers(scaled(detector), scaled(Ridge(SHRINKAGE)))


MEANS = VotingRegressor(_members(), weights=[2, 1, 1])
TREE = DecisionTreeRegressor(max_depth=3, min_samples_leaf=0.1, random_state=0)
LOGITS = ClassifierChain(LogisticRegression(C=0.01), chain_method="predict_proba")
outlier = partial(spec, task="outlier", reading=STRANGE)
forward = partial(spec, takes=frozenset({"horizon"}))
several = partial(spec, task="multi-output", takes=frozenset({"horizon", "return_column"}))

# fmt: off
SPECS = (
    spec("VotingRegressor_soft", SOFT, MEANS, 1.5, reading=WEIGHTS),
    forward("VotingRegressor_hard", HARD, Sided(MajorityVote(_members())), 2.8, reading=VOTE),
    spec("BaggingRegressor_10", BAGGING, _bagging(10), 0.5, reading=UNIQUE),
    spec("BaggingRegressor_25", BAGGING, _bagging(25), 1.3, reading=UNIQUE),
    spec("BaggingRegressor_50", BAGGING, _bagging(50), 2.3, reading=UNIQUE),
    forward("StackingRegressor_linear", STACKING, _stack(LinearRegression()), 5.0, reading=FORWARD),
    forward("StackingRegressor_tree", STACKING, _stack(TREE), 5.0, reading=FINAL_TREE),
    forward("StackingRegressor_ridge", STACKING, _stack(Ridge(100.0)), 5.0, reading=FINAL_RIDGE),
    several("MultiOutputRegressor", SEVERAL, Horizons(MultiOutputRegressor(_boosting())), 2.0, reading=APART),
    several("RegressorChain", CHAIN, Horizons(scaled(RegressorChain(Ridge(SHRINKAGE)))), 0.1, reading=RIDGES),
    several("ClassifierChain", DIRECTIONS, HorizonDirections(scaled(LOGITS)), 0.2, task="classifier", reading=LINKS),
    outlier("IsolationForest", ISOLATION, _usual(IsolationForest(random_state=0, n_jobs=1)), 1.1),
    outlier("OneClassSVM", BOUNDARY, _usual(OneClassSVM(nu=0.05)), 0.25, max_train_rows=10_000),
    outlier("LocalOutlierFactor", FACTOR, _usual(LocalOutlierFactor(20, algorithm="brute", novelty=True)), 0.2,
            max_train_rows=10_000),
    forward("ForecastCombination_NNLS", COMBINATION, _stack(LinearRegression(positive=True)), 5.0, reading=NONNEGATIVE),
)
# fmt: on

FAMILY = Family(
    "ensembles",
    "Ensembles, horizons and outlier filters",
    "Several imperfect forecasts, or several related targets, know more than one. "
    "That holds where their errors differ, which models of the same features on the same days only partly grant. "
    "The filters among them assume that a few strange days follow another law and spoil the estimate of the rest.",
    "Is there more in the forecasts together than in the best of them, and does a law of ordinary days hold?",
    "Members that are wrong together; crashes, if the strange days were the point.",
    SPECS,
)
