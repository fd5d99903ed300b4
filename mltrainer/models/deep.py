"""Deep networks over windows of sessions, beside the catalog's named models: asked for by their family or name."""

from functools import partial

from mltrainer.models.base import Family, Method, ModelSpec
from mltrainer.models.sequences import LAYERS, LazyNetwork
from mltrainer.models.series import SEEN

WINDOW = 32  # sessions
BEARS = 20_000  # rows: on more, a fit would take minutes

GRU = Method(
    "gru",
    "Gated recurrent unit network",
    r"h_t = z_t \odot h_{t-1} + (1 - z_t) \odot \tanh(W x_t + r_t \odot U h_{t-1} + b),\quad"
    r" \hat y_t = w^\top h_t + w_0",
    "what matters in the last 32 sessions can be carried in 16 numbers",
    "the question of the LSTM with three quarters of its weights",
    "O(epochs n window units (units + p))",
    "Cho et al. (2014), EMNLP",
)
TCN = Method(
    "tcn",
    "Temporal convolutional network",
    r"x^{(b)}_t = \max\bigl(0,\ x^{(b-1)}_t + F(x^{(b-1)})_t\bigr),\quad"
    r" (f *_d x)_t = \sum_{i=0}^{k-1} f_i\, x_{t - d i},\quad d = 2^b",
    "short patterns matter wherever they lie in the last 29 sessions, and combine at doubling distances",
    "orders of days, without a state that must be carried; faster to train than recurrent networks",
    "O(epochs n window k units^2 blocks)",
    "Bai, Kolter and Koltun (2018), arXiv:1803.01271",
)
PATCHTST = Method(
    "patchtst",
    "Transformer over patches",
    r"\hat y = w^\top \mathrm{vec}(Z),\quad Z = \mathrm{Attention}(P W + E),\quad P_n = x_{4n+1 : 4n+8}",
    "runs of eight sessions are the words; each column is read alone, and its level and scale say nothing",
    "similar stretches far apart in the window; asks for far more rows than a share has: try it on a panel",
    "O(epochs n p patches^2 units)",
    "Nie et al. (2023), ICLR; Vaswani et al. (2017)",
)
TIDE = Method(
    "tide",
    "Time-series dense encoder",
    r"\hat y = v^\top D(E(\mathrm{vec}(\phi(x)))) + w^\top \mathrm{vec}(x)",
    "a linear law of the last 32 sessions, and bends of it that need neither states nor attention",
    "whether anything recurrent or attentive is needed at all",
    "O(epochs n window p units)",
    "Das et al. (2023), TMLR; Challu et al. (2023) for its rival N-HiTS",
)

READS = (
    "Keras on jax, small on purpose: windows of 32 sessions of six columns made from closes, five epochs of small"
    " steps, fixed seed; it starts from the mean, and more steps fitted noise. The first fold pays for compiling. Of a"
    " panel, one network learns from the windows of all names."
)


def _row(name: str, method: Method, cost: float, *, units: int = 16, depth: int = 1, reading: str = READS) -> ModelSpec:
    kind = method.key
    params = {"network": kind, "units": units, "depth": depth, "window": WINDOW, "epochs": 5, "learning_rate": 5e-4}
    lazy = LazyNetwork(f"keras.layers.{LAYERS[kind]}", params)
    return spec(name, method, lazy, cost, reading=reading)


spec = partial(ModelSpec, family="deep", extra="deep", columns=SEEN, lags=WINDOW, max_train_rows=BEARS, origin="added")

SPECS = (
    _row("GRU", GRU, 2.4),
    _row("TCN", TCN, 3.4, depth=3),
    _row("PatchTST", PATCHTST, 6.0),
    _row("TiDE", TIDE, 2.6, units=32),
)

FAMILY = Family(
    "deep",
    "Deep networks over windows",
    "The order of the last 32 sessions says something that no single row does. "
    "There are enough independent days to learn thousands of weights, which one share's history hardly offers. "
    "The optimizer's path and its seed are part of the model.",
    "Does the shape of the last weeks say more than the indicators that were made of it?",
    "One share and little signal: a long way to the mean, at a hundred times the cost of ridge regression.",
    SPECS,
)
