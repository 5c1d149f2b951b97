"""The entropy of a latent vector at the precision that reconstruction needs, in bits per image.

The differential entropy of a latent says nothing by itself: it changes with the latent's scale. So
the latent z is sent through a noisy channel whose noise is measured at the decoder's output, and
its entropy is the information that gets through. G is the decoder's metric, the mean over images of
JᵀJ / P with its Jacobian J at z and P pixels, Σ the covariance of z. In the basis u where Σ is the
identity and G is diagonal, direction i carries an output variance of μ_i, its gain, an eigenvalue
of ΣG. Replacing z by Az changes no gain. The channel at level s adds noise of variance s to
y_i = √μ_i u_i, and the receiver shrinks by μ_i / (μ_i + s), the linear estimate of least squared
error; a direction that the decoder ignores is thus replaced by its mean. The error of the output
rises by sμ_i / (s + μ_i) per direction, exactly so for a linear decoder.

For given gains the information is largest when u is Gaussian: Σ ½ log2(1 + μ_i / s), an upper bound
(Cover & Thomas, Elements of Information Theory, 2nd ed., ch. 9). The estimate from nearest
neighbours (Kozachenko & Leonenko 1987; Kraskov et al., arXiv:cond-mat/0305641) makes no such
assumption, but sees less of what is not Gaussian the more directions there are.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import digamma, gammaln
from skdim.id import MLE, TwoNN
from sklearn.neighbors import NearestNeighbors

from medae.base.errors import InputError

NEIGHBOURS = 3  # the k of the nearest-neighbour estimate: more is smoother, and more biased
MLE_NEIGHBOURS = 20  # of the maximum likelihood estimate of the dimension
IN_USE_BITS = 0.1  # a direction with so much is in use
LEAST_GAIN = 0.01  # of the level; smaller gains carry under 0.008 bits and are left to the Gaussian
RESOLUTION = 1e-6  # relative; latents are float32


@dataclass(frozen=True)
class Channel:
    """The basis in which the latents' covariance is the identity and the metric is diagonal.

    It has r ≤ d directions, those in which the latents vary, by falling gain. The sign of each is
    such that its largest deviation among the images is positive.
    """

    mean: np.ndarray
    """Mean latent, shape (d,)."""
    whitening: np.ndarray
    """u = (z − mean) · whitening, shape (d, r)."""
    basis: np.ndarray
    """z = mean + u · basis, shape (r, d)."""
    gains: np.ndarray
    """Output variance μ of each direction in squared [-1, 1] intensity units, shape (r,)."""

    @classmethod
    def fit(cls, latents: np.ndarray, metric: np.ndarray) -> "Channel":
        """Return the channel of latents n × d and a metric d × d (squared intensity per z²).

        Raises InputError when one of them is not finite or there are fewer than two latents.
        """
        latents = np.asarray(latents, dtype=np.float64)
        if len(latents) < 2 or not (np.isfinite(latents).all() and np.isfinite(metric).all()):
            raise InputError(
                f"The entropy of {len(latents)} latent vectors cannot be measured: at least two "
                "are needed, of images that are no duplicates of each other, and they and the "
                "decoder's derivatives must be finite. Where the training images are duplicates "
                "(see the audit's table), leave out `theory` or get others; else delete the "
                "model's checkpoint and train it again, or leave it out of the grid."
            )
        mean = latents.mean(axis=0)
        spread = latents.std(axis=0)
        varying = spread > RESOLUTION * np.abs(mean)
        scaled = (latents - mean)[:, varying] / spread[varying]
        _, sizes, turn = np.linalg.svd(scaled / np.sqrt(len(latents)), full_matrices=False)
        kept = sizes > RESOLUTION * sizes.max(initial=0.0)
        sizes, turn = sizes[kept], turn[kept]
        basis = np.zeros((len(sizes), latents.shape[1]))
        basis[:, varying] = sizes[:, None] * turn * spread[varying]
        whitening = np.zeros(basis.T.shape)
        whitening[varying] = turn.T / sizes / spread[varying][:, None]
        gains, turn = np.linalg.eigh(basis @ metric @ basis.T)
        gains, turn = gains[::-1].clip(min=0.0), turn[:, ::-1]  # rounding can make them negative
        basis, whitening = turn.T @ basis, whitening @ turn
        u = (latents - mean) @ whitening
        signs = np.where(u.max(axis=0) >= -u.min(axis=0), 1.0, -1.0)
        return cls(mean, whitening * signs, signs[:, None] * basis, gains)

    def whiten(self, latents: np.ndarray) -> np.ndarray:
        """Return u, the latents n × d in the basis, shape (n, r); of unit variance."""
        return (latents - self.mean) @ self.whitening

    def transmit(self, latents: np.ndarray, *, level: float, noise: np.ndarray) -> np.ndarray:
        """Return what is received of latents n × d at `level` (variance above 0), shape (n, d).

        `noise` is standard normal, shape (n, r). At the level inf the mean is received.
        """
        if np.isinf(level):
            return np.broadcast_to(self.mean, latents.shape)
        sizes = np.sqrt(self.gains)
        received = sizes * self.whiten(latents) + np.sqrt(level) * noise
        return self.mean + (sizes / (self.gains + level) * received) @ self.basis


def level_grid(gains: np.ndarray, *, error: float, count: int) -> np.ndarray:
    """Return `count` ascending levels at which errors are measured, the last one inf.

    `error` is that without noise. The lowest level raises a linear decoder's error by at most a
    thousandth; at the highest finite one the channel is nearly shut.
    """
    error = max(error, np.finfo(np.float32).tiny)
    low = 1e-3 * error / max(len(gains), 1)
    high = 10 * max(gains.max(initial=0.0), error)
    return np.append(np.geomspace(low, high, count - 1), np.inf)


def level_for_rise(levels: np.ndarray, errors: np.ndarray, *, error: float, rise: float) -> float:
    """Return the least level at which the mean squared error is (1 + rise) · `error`.

    `levels` are those of `level_grid` and `errors` the errors at them, `error` the one without
    noise. The excess over `error` is interpolated on logarithmic scales, where it is a straight
    line for small levels, and beyond the last finite level in 1 / level, as the channel shuts. The
    result is inf when even the mean latent reconstructs as well: no information is needed then.

    Raises InputError when already the lowest level does more: the levels don't enclose the rise.
    """
    wanted = rise * error
    excess = errors - error
    reached = np.flatnonzero(excess >= wanted)
    if len(reached) == 0:
        return np.inf
    place = reached[0]
    if place == 0:
        raise InputError(
            f"The error of reconstruction, {error:.3g}, rises by {excess[0] / error:.0%} already "
            f"at the lowest level of noise, {levels[0]:.3g}, so the level that raises it by "
            f"{rise:.0%} is not enclosed. Raise theory.entropy.rise in the configuration, or leave "
            "the setting out of the grid."
        )
    if np.isinf(levels[place]):
        share = (excess[place] - wanted) / (excess[place] - excess[place - 1])
        return float(levels[place - 1] / share) if share > 0 else np.inf
    ends = excess[[place - 1, place]].clip(min=1e-3 * wanted)  # tiny noise can lower the error
    nearby = np.log(levels[[place - 1, place]])
    return float(np.exp(np.interp(np.log(wanted), np.log(ends), nearby)))


def direction_bits(gains: np.ndarray, level: float) -> np.ndarray:
    """Return the bits that each direction carries when u is Gaussian, shape of `gains`."""
    return 0.5 * np.log2(1 + gains / level)


def gaussian_bits(gains: np.ndarray, level: float) -> float:
    """Return the information at `level` in bits per image when u is Gaussian, an upper bound."""
    return float(direction_bits(gains, level).sum())


def knn_entropy(points: np.ndarray, *, neighbours: int = NEIGHBOURS) -> float:
    """Return the differential entropy of points n × d in bits (Kozachenko–Leonenko).

    From the distance to the k-th neighbour; -inf when a point occurs more than k times. Biased
    towards more in many dimensions: 14 bits too many for 1000 normal points in 64.
    """
    n, d = points.shape
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points)
    radii = nearest.kneighbors()[0][:, -1]
    ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    with np.errstate(divide="ignore"):
        logs = np.log(radii)
    return float((digamma(n) - digamma(neighbours) + ball + d * logs.mean()) / np.log(2))


def knn_bits(channel: Channel, latents: np.ndarray, *, level: float, seed: int = 0) -> float:
    """Return the information at `level` in bits per image, from nearest neighbours.

    That is h(y + noise) − h(noise) over the directions with at least LEAST_GAIN of the level. The
    estimate is made of y + noise scaled to unit variance, which changes its entropy by a known
    amount, and its bias is taken away with that on as many Gaussian points, of which the entropy is
    known; so the result is the Gaussian one minus what u falls short of it (its negentropy).
    `latents` are the n × d that the channel was fitted to. nan with fewer than four more images
    than directions, of which no neighbours tell anything.
    """
    if np.isinf(level):
        return 0.0
    gains = channel.gains[channel.gains >= LEAST_GAIN * level]
    n, directions = len(latents), len(gains)
    if directions == 0:
        return 0.0
    if n < directions + 1 + NEIGHBOURS:
        return float("nan")
    random = np.random.default_rng(seed)
    u = channel.whiten(latents)[:, :directions]
    reference = random.standard_normal(u.shape)
    reference = Channel.fit(reference, np.eye(directions)).whiten(reference)
    signal, noise = np.sqrt(gains / (gains + level)), np.sqrt(level / (gains + level))
    disturbance = noise * random.standard_normal(u.shape)
    entropies = [knn_entropy(signal * points + disturbance) for points in (u, reference)]
    return gaussian_bits(gains, level) + entropies[0] - entropies[1]


def participation_ratio(gains: np.ndarray) -> float:
    """Return (Σμ)² / Σμ², from 1 to the number of gains; 0 when all are zero."""
    return float(gains.sum() ** 2 / np.square(gains).sum()) if gains.any() else 0.0


def estimate_dimension(points: np.ndarray) -> float:
    """Return the intrinsic dimension of points n × d (d > 1), the larger of two estimates.

    TwoNN (Facco et al., arXiv:1803.06992) rests on the two nearest neighbours of each point, the
    maximum likelihood estimate (Levina & Bickel, NIPS 2004, with MacKay & Ghahramani's mean) on
    MLE_NEIGHBOURS of them. Both fall short with few points in many dimensions. Equal points count
    once. nan with fewer than MLE_NEIGHBOURS + 2 different points.
    """
    points = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    if len(points) < MLE_NEIGHBOURS + 2:
        return float("nan")
    estimates = (
        TwoNN().fit_transform(points),
        MLE().fit_transform(points, n_neighbors=MLE_NEIGHBOURS),
    )
    return float(max(estimates))


def first_of_groups(audit: pd.DataFrame) -> np.ndarray:
    """Return the rows of the training images that are the first of their copy group.

    `audit` is that of `read_audit`. Duplicates would make the images look more alike than they are.
    """
    groups = audit.loc[audit["split"] == "train", "copy_group"].to_numpy()
    return np.unique(groups, return_index=True)[1]
