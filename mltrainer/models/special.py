"""Special models: Bayes classifiers and discriminants, regressions on components, and kernels solved in closed form."""

from functools import partial
from typing import Any

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, RobustScaler, StandardScaler

from mltrainer.models.base import Family, Method, ModelSpec, scaled
from mltrainer.models.combiners import IndependentComponents, Parts
from mltrainer.models.forecasters import Bounded, ClassMeans, Components
from mltrainer.models.series import SERIES_LIKE

GAUSSIAN_NB = Method(
    "gaussian-nb",
    "Gaussian naive Bayes",
    r"P(c \mid x) \propto P(c) \prod_j N(x_j; \mu_{jc}, \sigma_{jc}^2)",
    "features are independent and normal within a class",
    "a fast direction model that needs few rows",
    "O(n p)",
    "Hand and Yu (2001), International Statistical Review 69",
)
MULTINOMIAL_NB = Method(
    "multinomial-nb",
    "Multinomial naive Bayes",
    r"P(c \mid n) \propto P(c) \prod_j \theta_{jc}^{n_j},\quad \theta_{jc} \propto N_{jc} + 1",
    "features are counts, drawn independently within a class",
    "histograms of each class: no shape is assumed",
    "O(n p)",
    "McCallum and Nigam (1998), AAAI workshop",
)
BERNOULLI_NB = Method(
    "bernoulli-nb",
    "Bernoulli naive Bayes",
    r"P(c \mid b) \propto P(c) \prod_j \theta_{jc}^{b_j} (1 - \theta_{jc})^{1 - b_j}",
    "features are yes or no, independent within a class",
    "above or below usual is all that a day tells",
    "O(n p)",
    "McCallum and Nigam (1998), AAAI workshop",
)
LDA = Method(
    "lda",
    "Linear discriminant analysis",
    r"\log \frac{P(1 \mid x)}{P(-1 \mid x)} = x^\top \Sigma^{-1} (\mu_1 - \mu_{-1}) + b",
    "classes are normal with one covariance and differ in the mean",
    "a direction model that is a line; shrinkage keeps collinear columns apart",
    "O(n p^2 + p^3)",
    "Fisher (1936), Annals of Eugenics 7; Ledoit and Wolf (2004) for the shrinkage",
)
QDA = Method(
    "qda",
    "Quadratic discriminant analysis",
    r"\log P(c \mid x) = -\tfrac{1}{2} \log |\Sigma_c|"
    r" - \tfrac{1}{2} (x - \mu_c)^\top \Sigma_c^{-1} (x - \mu_c) + \mathrm{const}",
    "classes are normal and differ in mean and covariance",
    "directions that show in how features vary together, not only in their level",
    "O(n p^2 + p^3) per class",
    "Hastie, Tibshirani and Friedman (2009), ch. 4; Friedman (1989), JASA 84",
)
PCR = Method(
    "pca-regression",
    "Principal component regression",
    r"\hat y = b + \sum_{k \le 10} \beta_k z_k,\quad z = V^\top x",
    "what moves the features most also moves the return",
    "many correlated indicators reduced to ten that are not",
    "O(n p^2)",
    "Massy (1965), JASA 60; Stock and Watson (2002), JASA 97",
)
ICR = Method(
    "ica-regression",
    "Independent component regression",
    r"\hat y = b + \sum_{k \in K} \beta_k s_k,\quad s = W x \text{ as independent and non-normal as can be}",
    "features mix a few independent, non-normal sources, of which some lead the return",
    "sources that come in bursts, which variance alone does not separate",
    "O(n q^2) per iteration, q components",
    "Hyvärinen and Oja (2000), Neural Networks 13; Back and Weigend (1997) for stocks",
)
NMF_METHOD = Method(
    "nmf-regression",
    "Non-negative matrix factorization, then regression",
    r"X \approx W H,\quad W, H \ge 0,\quad \hat y = b + \sum_k \beta_k w_k",
    "a day is a sum of parts and never a difference",
    "parts that can be read: each is a pattern of high features",
    "O(n p k) per iteration",
    "Lee and Seung (1999), Nature 401",
)
KERNEL_RIDGE = Method(
    "kernel-ridge",
    "Kernel ridge regression",
    r"\hat y(x) = k(x)^\top (K + \alpha I)^{-1} y",
    "days that are close under the kernel behave alike; errors are normal",
    "nonlinear ridge in closed form",
    "O(n^3) time and O(n^2) memory",
    "Saunders, Gammerman and Vovk (1998), ICML",
)

spec = partial(ModelSpec, family="special")
classifier = partial(spec, task="classifier")

CLASSES = "The classes are returns above and below the train mean; the forecast is P(class) times the class's mean."
NAIVE = (
    f"{CLASSES} On ten principal components: naive Bayes counts each copy of an indicator as new evidence, and would be"
    " certain of noise."
)
COUNTS = f"{NAIVE} Counts are made by cutting each component into five bins of equal number on the train rows."
BITS = f"{NAIVE} Each is yes where it is above its train median."
SURE = "The probabilities are too sure, as the method takes labels that overlap for independent ones."
SHRINKAGE = f"{CLASSES} The covariance is shrunk as Ledoit and Wolf advise. {SURE}"
CURVED = f"{CLASSES} On ten principal components, as 60 columns would need 3,660 variances and covariances. {SURE}"
CHOSEN = (
    "A regression on all independent components is one on the principal components they mix. Here 15 are unmixed and"
    " the five most correlated with the train target are kept."
)
NORMAL = (
    "ConvergenceWarning 'FastICA did not converge' is silenced and kept in `converged_`: where sources are normal, no"
    " rotation is better than another."
)
SLOW = "ConvergenceWarning would say that 1,000 iterations were too few; on real days 300 were enough."
PARTS = (
    "Features are moved to [0, 1] by their train range, beyond which new values are cut; six parts, of each row by"
    " itself, then OLS."
)
QUADRATIC = (
    "Degree 2 with gamma 1/p. The penalty is 2,000: 5 x 99, see RidgeRegression, times k(x, x), which is about 4."
    " Forecasts keep to the range of the train targets."
)
COSINE = "Equal to a ridge without intercept, penalty 10, on days divided by their length; solved as a kernel."
INDEFINITE = (
    "tanh(x'z / p) is no valid kernel: its eigenvalues go down to about -0.05 n. The"
    " penalty of 200 on the latest 2,500 rows exceeds them, so that the solution exists and is unique."
)
SINGULAR = (
    "scikit-learn's 'Singular matrix in solving dual problem' would say that the penalty no longer exceeds them, and"
    " that least squares answered."
)


def _direction(model: Any, *before: Any) -> ClassMeans:
    return ClassMeans(scaled(model, *before))


def _kernel(kernel: str, alpha: float, **shape: Any) -> Any:
    return scaled(KernelRidge(kernel=kernel, alpha=alpha, **shape))


BINS = KBinsDiscretizer(
    5, encode="onehot-dense", strategy="quantile", quantile_method="averaged_inverted_cdf", random_state=0
)
GNB = _direction(GaussianNB(), Components(10))
MNB = _direction(MultinomialNB(), Components(10), BINS)
BNB = _direction(BernoulliNB(binarize=0.0), Components(10), RobustScaler(with_scaling=False))
ONE_COVARIANCE = _direction(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
TWO_COVARIANCES = _direction(QuadraticDiscriminantAnalysis(reg_param=0.1), Components(10))
ICA = scaled(LinearRegression(), Components(15), IndependentComponents(5))
WHOLE = Parts(6, init="nndsvda", tol=1e-3, max_iter=1_000, random_state=0)
SUMS = make_pipeline(MinMaxScaler(clip=True), WHOLE, StandardScaler(), LinearRegression())
kernel_ridge = partial(spec, method=KERNEL_RIDGE, max_train_rows=5_000)

# fmt: off
SPECS: tuple[ModelSpec, ...] = (
    classifier("GaussianNB", GAUSSIAN_NB, GNB, 0.1, reading=NAIVE),
    classifier("MultinomialNB", MULTINOMIAL_NB, MNB, 0.2, reading=COUNTS),
    classifier("BernoulliNB", BERNOULLI_NB, BNB, 0.12, reading=BITS),
    classifier("LinearDiscriminantAnalysis", LDA, ONE_COVARIANCE, 0.11, reading=SHRINKAGE),
    classifier("QuadraticDiscriminantAnalysis", QDA, TWO_COVARIANCES, 0.1, reading=CURVED),
    spec("PCA_Regression", PCR, scaled(LinearRegression(), Components(10)), 0.1,
         reading="On ten components, each cut at 3 sd."),
    spec("ICA_Regression", ICR, ICA, 0.5, reading=CHOSEN, warns=NORMAL),
    spec("NMF_Regression", NMF_METHOD, SUMS, 0.5, reading=PARTS, warns=SLOW),
    kernel_ridge("KernelRidge_polynomial", estimator=Bounded(_kernel("poly", 2_000.0, degree=2)), cost=0.9,
                 reading=QUADRATIC),
    kernel_ridge("KernelRidge_sigmoid", estimator=_kernel("sigmoid", 200.0, coef0=0.0), cost=1.0, reading=INDEFINITE,
                 warns=SINGULAR, max_train_rows=2_500),
    kernel_ridge("KernelRidge_cosine", estimator=_kernel("cosine", 10.0), cost=1.0, reading=COSINE),
)
# fmt: on

FAMILY = Family(
    "special",
    "Bayes, components, kernels and regimes",
    "Each of these brings its own picture of the data: classes with a shape, sources that were mixed, days that are"
    " close, a state that moves. "
    "The picture is fixed in advance, so few numbers are left to estimate. "
    "Where the picture is wrong, more data do not mend it.",
    "Does a strong assumption, made openly, beat a flexible model that has to learn everything?",
    "Features that break the assumption, as correlated indicators do for naive Bayes.",
    (*SPECS, *SERIES_LIKE),
)
