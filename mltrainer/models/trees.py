"""Trees: forecasts that are constant on boxes of the feature space, alone, averaged, or added up."""

from functools import partial
from typing import Any

from sklearn.ensemble import AdaBoostRegressor, ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from mltrainer.models.base import Family, Lazy, Method, ModelSpec
from mltrainer.models.forecasters import OneThread, QuantileForecaster
from mltrainer.models.noise import LEAF

TREE = Method(
    "tree",
    "Regression tree",
    r"\hat y(x) = \sum_m \bar y_{R_m} 1_{x \in R_m},\quad R_m \text{ split to reduce } \sum (y - \bar y_{R})^2",
    "the target is roughly constant in boxes cut along single features",
    "rules one can read aloud; deep trees memorize days",
    "O(n p log n) per level",
    "Breiman, Friedman, Olshen and Stone (1984)",
)
FOREST = Method(
    "forest",
    "Random forest",
    r"\hat y = \tfrac{1}{B} \sum_b T_b(x),\quad"
    r" T_b \text{ on a bootstrap of rows, each split on a random third of columns}",
    "trees that err differently; rows that are not near copies of each other",
    "a sturdy nonlinear baseline without tuning",
    "O(B n p log n)",
    "Breiman (2001), Machine Learning 45; Gu, Kelly and Xiu (2020) for returns",
)
EXTRA = Method(
    "extra-trees",
    "Extremely randomized trees",
    r"\hat y = \tfrac{1}{B} \sum_b T_b(x),\quad \text{thresholds drawn at random}",
    "as the forest; split points carry little information",
    "less variance than a forest at a fraction of its time",
    "O(B n p)",
    "Geurts, Ernst and Wehenkel (2006), Machine Learning 63",
)
BOOSTING = Method(
    "gradient-boosting",
    "Gradient boosting",
    r"F_m = F_{m-1} + \eta\, T_m,\quad T_m \approx -\partial L(y, F_{m-1}) / \partial F",
    "many shallow corrections add up; later ones are not mostly noise",
    "interactions of few features; the learning rate says how fast it starts to fit noise",
    "O(M n p)",
    "Friedman (2001), Annals of Statistics 29; (2002) for the stochastic form",
)
ADABOOST = Method(
    "adaboost",
    "AdaBoost.R2",
    r"w_i \leftarrow w_i\,\beta_m^{1 - L_i},\quad \hat y = \text{weighted median of } T_m(x)",
    "the hard rows are worth the attention",
    "a historical yardstick; on returns the hard rows are mostly the noisiest",
    "O(M n p log n)",
    "Drucker (1997), ICML",
)
HISTOGRAM = Method(
    "histogram-boosting",
    "Histogram gradient boosting",
    r"F_m = F_{m-1} + \eta\, T_m,\quad \text{splits on 255 bins, leaves } -\tfrac{\sum g}{\sum h + \lambda}",
    "as gradient boosting; features may be rounded to bins",
    "large panels: cost grows with bins, not with rows",
    "O(M (n p + 255 p))",
    "Ke et al. (2017), NeurIPS",
)
CATBOOST = Method(
    "catboost",
    "CatBoost",
    r"F_m = F_{m-1} + \eta\, T_m,\quad T_m \text{ symmetric: one split per level}",
    "as gradient boosting; symmetric trees are regular enough not to overfit",
    "boosting that is hard to overfit; symmetric trees predict fast",
    "O(M n p)",
    "Prokhorenkova et al. (2018), NeurIPS",
)
LIGHTGBM = Method(
    "lightgbm",
    "LightGBM",
    r"F_m = F_{m-1} + \eta\, T_m,\quad T_m \text{ grown leaf by leaf where the loss falls most}",
    "as gradient boosting; unbalanced trees are wanted",
    "the fastest booster on wide panels",
    "O(M (n p + bins p))",
    "Ke et al. (2017), NeurIPS",
)
XGBOOST = Method(
    "xgboost",
    "XGBoost",
    r"\min_T \sum_i g_i T(x_i) + \tfrac{1}{2} h_i T(x_i)^2 + \gamma |T| + \tfrac{\lambda}{2} \lVert w \rVert^2",
    "as gradient boosting, with curvature and a penalty on leaves",
    "the most widely used booster; a reference for the other two",
    "O(M n p)",
    "Chen and Guestrin (2016), KDD",
)

spec = partial(ModelSpec, family="trees")

LEAVES = (
    "Leaves hold at least 50 rows, ten labels that do not overlap, and each split sees a third of the columns: fully"
    " grown trees would remember near copies of the row they are asked about."
)
DEPTH = (
    "Leaves hold at least 20 rows; more would leave no room for the depths in the names. A single tree is not averaged,"
    " and the best of all splits is mostly the luckiest, so its out-of-sample R² is far below zero."
)
HARDEST = (
    "Each tree has depth 3, the default, and leaves of at least 50 rows, ten labels that do not overlap. The hard rows,"
    " on which later trees dwell, are the noisiest, so that more trees need not do better."
)
STEPS = "The number of trees times the learning rate is 1, as further steps would fit noise: {} trees."
HALVES = (
    f"{STEPS} In the stochastic form: each tree sees half of the rows, in leaves of at least 25, and each split a third"
    " of the columns."
)
SMALL = f"{STEPS.format(20)} 15 leaves of at least 40 rows."
GENUINE = "The genuine library runs under this name, and nothing else does."


def _tree(depth: int) -> DecisionTreeRegressor:
    return DecisionTreeRegressor(max_depth=depth, min_samples_leaf=20, random_state=0)


def _forest(kind: type[Any], trees: int) -> Any:
    return kind(trees, min_samples_leaf=LEAF, max_features=1 / 3, random_state=0, n_jobs=1)


def _adaboost(trees: int) -> AdaBoostRegressor:
    return AdaBoostRegressor(
        DecisionTreeRegressor(max_depth=3, min_samples_leaf=LEAF), n_estimators=trees, random_state=0
    )


def _boosting(rate: float, trees: int) -> GradientBoostingRegressor:
    return GradientBoostingRegressor(
        learning_rate=rate, n_estimators=trees, subsample=0.5, min_samples_leaf=LEAF // 2, max_features=1 / 3,
        random_state=0,
    )  # fmt: skip


def _histogram(**loss: Any) -> OneThread:
    # early stopping would hold out random rows, whose labels overlap with the rest
    return OneThread(
        max_iter=20, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=40, early_stopping=False, random_state=0,
        **loss,
    )  # fmt: skip


MEDIAN = QuantileForecaster(_histogram(loss="quantile", quantile=0.5))
CAT = Lazy(
    "catboost.CatBoostRegressor",
    {"iterations": 20, "depth": 4, "learning_rate": 0.05, "random_seed": 0, "thread_count": 1}
    | {"allow_writing_files": False, "verbose": 0},
)
LGBM = Lazy(
    "lightgbm.LGBMRegressor",
    {"n_estimators": 20, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 40, "random_state": 0}
    | {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1},
)
XGB = Lazy(
    "xgboost.XGBRegressor",
    {"n_estimators": 20, "learning_rate": 0.05, "max_depth": 4, "min_child_weight": 40, "random_state": 0}
    | {"tree_method": "hist", "n_jobs": 1, "verbosity": 0},
)

# fmt: off
SPECS = (
    spec("DecisionTree_depth_3", TREE, _tree(3), 0.13, reading=DEPTH),
    spec("DecisionTree_depth_5", TREE, _tree(5), 0.2, reading=DEPTH),
    spec("DecisionTree_depth_7", TREE, _tree(7), 0.27, reading=DEPTH),
    spec("DecisionTree_depth_10", TREE, _tree(10), 0.34, reading=DEPTH),
    spec("DecisionTree_depth_None", TREE, DecisionTreeRegressor(random_state=0), 0.5,
         reading="Taken literally: the tree remembers every train row, and shows what memorizing is worth."),
    spec("RandomForest_10_trees", FOREST, _forest(RandomForestRegressor, 10), 0.63, reading=LEAVES),
    spec("RandomForest_50_trees", FOREST, _forest(RandomForestRegressor, 50), 2.7, reading=LEAVES),
    spec("RandomForest_100_trees", FOREST, _forest(RandomForestRegressor, 100), 6.1, reading=LEAVES),
    spec("ExtraTrees_10", EXTRA, _forest(ExtraTreesRegressor, 10), 0.17, reading=LEAVES),
    spec("ExtraTrees_50", EXTRA, _forest(ExtraTreesRegressor, 50), 0.81, reading=LEAVES),
    spec("GradientBoosting_lr_0.01", BOOSTING, _boosting(0.01, 100), 2.7, reading=HALVES.format(100)),
    spec("GradientBoosting_lr_0.1", BOOSTING, _boosting(0.1, 10), 0.3, reading=HALVES.format(10)),
    spec("GradientBoosting_lr_0.3", BOOSTING, _boosting(0.3, 3), 0.1, reading=HALVES.format(3)),
    spec("AdaBoost_10", ADABOOST, _adaboost(10), 1.1, reading=HARDEST),
    spec("AdaBoost_50", ADABOOST, _adaboost(50), 4.0, reading=HARDEST),
    spec("HistGradientBoosting", HISTOGRAM, _histogram(), 0.8, reading=SMALL),
    spec("CatBoost_simulation", CATBOOST, CAT, 0.9, extra="boost",
         reading=f"{GENUINE} {STEPS.format(20)} Symmetric, of depth 4; plain boosting, the default on processors."),
    spec("LightGBM_simulation", LIGHTGBM, LGBM, 0.5, reading=f"{GENUINE} {SMALL}"),
    spec("XGBoost", XGBOOST, XGB, 0.6, extra="boost",
         reading=f"{STEPS.format(20)} Depth 4, leaves of at least 40 rows."),
    spec("HistGradientBoosting_quantile_0.5", HISTOGRAM, MEDIAN, 1.0, task="quantile", gives=frozenset({"quantile"}),
         reading=f"The median is kept for pinball loss; the point forecast is the median moved to the mean. {SMALL}"),
)
# fmt: on

FAMILY = Family(
    "trees",
    "Trees, forests and boosting",
    "The return depends on which side of a few thresholds the features stand. "
    "Averaging trees lowers variance, boosting lowers bias, and neither extrapolates beyond returns seen before. "
    "Rows should be independent, which overlapping labels are not, so leaves are kept large.",
    "Do combinations of conditions (calm and falling, stormy and rising) precede different returns?",
    "Smooth trends and levels never seen before; with little signal the deep ones recite the train days.",
    SPECS,
)
