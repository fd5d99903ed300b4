"""Series models: what does the history of returns alone say about the next ones? Two rows more belong to `special`."""

from functools import partial

from mltrainer.models.base import Family, Method, ModelSpec
from mltrainer.models.filters import (
    Arima,
    ExponentialSmoothing,
    Garch,
    HoltWinters,
    LocalLevel,
    MarkovSwitching,
    SeriesForecaster,
    Theta,
    VectorAutoregression,
)
from mltrainer.models.networks import LazyLstm
from mltrainer.models.volatility import ParticleFilter, UnscentedFilter

ARIMA = Method(
    "arima",
    "Autoregressive integrated moving average",
    r"\phi(L)\,(1 - L)^d\, p_t = c + \theta(L)\, e_t,\quad \hat r_{t,h} = E_t[p_{t+h}] - p_t",
    "returns depend linearly on the last few returns and surprises, in the same way at all times",
    "momentum and reversal over days; the classical yardstick for any series",
    "O(n k^3) per likelihood for k states, O(n) to filter",
    "Box and Jenkins (1970); Durbin and Koopman (2012), ch. 3",
)
SES = Method(
    "ses",
    "Simple exponential smoothing",
    r"\ell_t = \alpha r_t + (1 - \alpha)\,\ell_{t-1},\quad \hat r_{t,h} = h\,\ell_t",
    "the mean return drifts, and the latest returns say most about it",
    "a moving average that forgets evenly; alpha says how fast",
    "O(n), nothing to estimate",
    "Brown (1956); Gardner (1985), Journal of Forecasting 4",
)
HOLT_WINTERS = Method(
    "holt-winters",
    "Holt and Winters' smoothing with a damped trend",
    r"\ell_t = \alpha (P_t \ominus s_{t-m}) + (1 - \alpha)(\ell_{t-1} + \phi b_{t-1}),\quad"
    r" b_t = \beta(\ell_t - \ell_{t-1}) + (1 - \beta)\phi b_{t-1}",
    "the price is a level, a fading trend and a pattern that repeats every five sessions",
    "trends that fade and patterns within the trading week, where there are any",
    "O(n) per pass, some hundred passes to estimate",
    "Holt (1957); Winters (1960); Gardner and McKenzie (1985), Management Science 31",
)
LOCAL_LEVEL = Method(
    "local-level",
    "Local level model, Kalman filter",
    r"r_t = \mu_t + e_t,\quad \mu_{t+1} = \mu_t + u_t,\quad \hat r_{t,h} = h\,\mu_{t+1|t}",
    "the expected return wanders slowly under much larger noise, both normal with constant variance",
    "a moving average whose memory is estimated; a constant where no drift can be seen",
    "O(n) per likelihood and to filter",
    "Kalman (1960); Durbin and Koopman (2012), ch. 2",
)
HIDDEN = r"r_t = \mu_t + e^{x_t/2}\epsilon_t,\quad \hat r_{t,h} = \sum_{k=1}^{h} \bar\mu + \rho^k(E_t\mu_t - \bar\mu)"
PARTICLE = Method(
    "particle-filter",
    "Particle filter on stochastic volatility",
    HIDDEN + r",\quad E_t\mu_t = \sum_i w_t^i \mu_t^i",
    "a slow drift and a slow log variance, both hidden; errors normal given the variance",
    "discounting returns of stormy days when the drift is judged; any distribution can be filtered so",
    "O(n m) for m particles",
    "Gordon, Salmond and Smith (1993); Kim, Shephard and Chib (1998), Review of Economic Studies 65",
)
UNSCENTED = Method(
    "unscented",
    "Unscented Kalman filter on stochastic volatility",
    HIDDEN + r",\quad z_t = (r_t,\ \ln(r_t^2 + o))",
    "as the particle filter, with the state normal at every step",
    "the particle filter's question at a fixed, small number of points",
    "O(n d^3) for d states",
    "Julier and Uhlmann (1997); Harvey, Ruiz and Shephard (1994), Review of Economic Studies 61",
)
LSTM = Method(
    "lstm",
    "Long short-term memory network",
    r"c_t = f_t \odot c_{t-1} + i_t \odot \tanh(W x_t + U h_{t-1} + b),\quad \hat y_t = w^\top h_t + w_0",
    "what matters in the last 20 sessions can be carried in 16 numbers, learned by gradient descent",
    "orders and interactions over time that no single row shows; asks for far more rows than a share has",
    "O(epochs n window units (units + p))",
    "Hochreiter and Schmidhuber (1997), Neural Computation 9; Fischer and Krauss (2018), EJOR 270",
)
GARCH = Method(
    "garch",
    "AR(1)-GARCH(1,1) with Student's t errors",
    r"r_t = c + \phi r_{t-1} + \sigma_t \epsilon_t,\quad \sigma_t^2 = \omega + \alpha e_{t-1}^2 + \beta \sigma_{t-1}^2",
    "variance clusters and returns to a mean; tails are fat; the mean depends on yesterday alone",
    "volatility, value at risk; its mean forecast is an autoregression that stormy days weigh less in",
    "O(n) per likelihood",
    "Bollerslev (1986, 1987); Engle (1982)",
)
MARKOV = Method(
    "markov",
    "Markov switching mean and variance",
    r"r_t \mid S_t \sim N(\mu_{S_t}, \sigma_{S_t}^2),\quad \hat r_{t,h} = \sum_{k=1}^{h} \mu^\top P^k \pi_{t|t}",
    "the market is in one of two regimes, changes by a fixed chance a day, and nobody tells which it is",
    "bull and bear, calm and storm; how probable each is today",
    "O(n r^2) per likelihood for r regimes",
    "Hamilton (1989), Econometrica 57",
)
VAR = Method(
    "var",
    "Vector autoregression",
    r"z_t = c + \sum_{i=1}^{p} A_i z_{t-i} + e_t,\quad z = (\text{return}, \text{volatility})",
    "returns and volatility lead each other linearly and alike at all times",
    "does volatility lead returns? Impulse responses and Granger tests build on it",
    "O(n (k p)^2)",
    "Sims (1980), Econometrica 48; Lütkepohl (2005)",
)
THETA = Method(
    "theta",
    "Theta method",
    r"\hat p_{t+h} = \ell_t + \tfrac{b_0}{2}\Big(h - 1 + \frac{1 - (1-\alpha)^t}{\alpha}\Big)",
    "half of the straight line through the past goes on; the rest is a smoothed level",
    "a drift shrunk by half: hard to beat among simple methods in the M3 competition",
    "O(n)",
    "Assimakopoulos and Nikolopoulos (2000); Hyndman and Billah (2003), International Journal of Forecasting 19",
)

RETURN = SeriesForecaster.columns
# The close alone makes them all, so that no ticker lacks one.
SEEN = ("return_1", "volatility_21", "volatility_ratio_5_63", "rsi_14", "sma_ratio_20", "drawdown_63")

AHEAD = frozenset({"horizon", "entry_lag"})  # the network is told neither: it learns from labels

spec = partial(ModelSpec, family="series", task="series", columns=RETURN, follows="returns", takes=AHEAD)
special = partial(spec, family="special")

AR = "On returns with a constant. Parameters from the train rows; the state is filtered on, never refitted."
INTEGRATED = (
    "d = 1 means the log price; returns differenced again would be over-differenced. No drift, as is usual with d = 1."
    " Parameters from the train rows; the state is filtered on, never refitted."
)
SMOOTHED = (
    "Smooths returns with the alpha in the name, nothing optimized: level = alpha r + (1 - alpha) level; a trend term"
    " in this formula would be Holt's. The forecast is the level times the horizon, far too wide for a large alpha:"
    " judge its sign and rank, not its size."
)
SEASON = (
    "On the price itself, as returns are negative half of the time; the trend is damped. The season is five sessions,"
    " not weekdays: holidays shift it, and at a horizon of five it cancels. Weights and initial state come from the"
    " train rows; where a level weight of 1 fits best, the forecast is near zero."
)
AT_ONE = (
    "ConvergenceWarning where a level weight of 1 fits best: the search stops there, within 0.01 % of the least sum of"
    " squares that slower searches find; kept with the result."
)
AT_ZERO = "ConvergenceWarning where a level that does not move fits best: its variance stops at zero; kept."
LEVEL = "The filtered level of returns times the horizon; where the level does not move, a constant. Never smoothed."
CLOUD = (
    "1,000 paths of the log variance, each with a Kalman filter of the drift; systematic resampling, fixed seed."
    " Moments of the train rows give the log variance's persistence and variance and the drift's size; the drift's"
    " half-life, 14 sessions, is given. Never smoothed."
)
SIGMA = (
    "The unscented Kalman filter; the catalog keeps the spelling it was ordered by. State (drift, log variance), seen"
    " through r and log r^2; moments as for ParticleFilter."
)
MEMORY = (
    "Keras' own LSTM on jax: 16 units, windows of 20 sessions of six columns made from closes, ten epochs, fixed seed."
    " The label is divided by 21-session volatility while training. The first fold pays for compiling."
)
CONDITIONAL = (
    "Forecasts the mean, an AR(1); `predict_deviation` gives the deviation of the horizon's return. Estimated on the"
    " train rows by arch, then filtered with the parameters fixed."
)
REGIMES = "Regimes by filtered probabilities, carried forward by the transition matrix; smoothed ones know the future."
PAIR = "Returns with 21-session volatility; BIC chooses 1 to 5 lags, or none."
LINE = (
    "On the log price, not deseasonalized; drift and alpha from the train rows, the level filtered on. It expects the"
    " price back on its line within one session: where a source has no open, entry is after that, and what is left is"
    " half the drift, a constant."
)


def _lstm() -> LazyLstm:
    volatility = SEEN.index("volatility_21")
    return LazyLstm(params={"units": 16, "window": 20, "epochs": 10, "scale_column": volatility})


# fmt: off
SPECS = (
    spec("ARIMA_1_0_0", ARIMA, Arima((1, 0, 0)), 0.9, reading=AR),
    spec("ARIMA_2_1_1", ARIMA, Arima((2, 1, 1)), 0.8, reading=INTEGRATED),
    spec("ARIMA_3_1_2", ARIMA, Arima((3, 1, 2)), 2.4, reading=INTEGRATED),
    spec("ExponentialSmoothing_alpha_0.1", SES, ExponentialSmoothing(0.1), 0.05, reading=SMOOTHED),
    spec("ExponentialSmoothing_alpha_0.3", SES, ExponentialSmoothing(0.3), 0.05, reading=SMOOTHED),
    spec("ExponentialSmoothing_alpha_0.5", SES, ExponentialSmoothing(0.5), 0.05, reading=SMOOTHED),
    spec("HoltWinters_additive", HOLT_WINTERS, HoltWinters("add"), 1.6, reading=SEASON, warns=AT_ONE),
    spec("HoltWinters_multiplicative", HOLT_WINTERS, HoltWinters("mul"), 1.5, reading=SEASON, warns=AT_ONE),
    spec("KalmanFilter", LOCAL_LEVEL, LocalLevel(), 0.7, reading=LEVEL, warns=AT_ZERO),
    spec("ParticleFilter", PARTICLE, ParticleFilter(1_000), 1.9, reading=CLOUD),
    spec("UnscientedKalmanFilter", UNSCENTED, UnscentedFilter(), 2.7, reading=SIGMA),
    spec("LSTM_simulation", LSTM, _lstm(), 9.0, extra="deep", columns=SEEN, takes=frozenset(), reading=MEMORY),
)
SERIES_LIKE = (
    special("GARCH_1_1_t", GARCH, Garch(), 0.4, task="volatility", gives=frozenset({"deviation"}), reading=CONDITIONAL),
    special("MarkovSwitching_2", MARKOV, MarkovSwitching(), 2.0, reading=REGIMES),
    special("VAR_bic", VAR, VectorAutoregression(5), 0.2, columns=VectorAutoregression.columns, reading=PAIR),
    special("Theta", THETA, Theta(), 0.3, reading=LINE),
)
# fmt: on

FAMILY = Family(
    "series",
    "Series models",
    "The past of the return says something about its future, and needs no other feature. "
    "Parameters are constant; what changes is a hidden state, followed as returns come in. "
    "The return of a position is the model's own expectation, from its entry on, and not a regression on labels.",
    "Is there momentum, reversal or a drift in the returns themselves?",
    "Anything another market, an indicator or the news knows: these models never see it.",
    SPECS,
)
