"""AE by SSIM: the AE, trained by squared error, scored by structural similarity as AE-SSIM is."""

from medae.models.methods.ae import AutoEncoder
from medae.models.methods.ae_ssim import SimilarityAutoEncoder


class AutoEncoderBySimilarity(SimilarityAutoEncoder):
    """The nearest known alternative to the information score: it too compares local windows."""

    display_name = "AE by SSIM"
    trained_as = "ae"

    loss = AutoEncoder.loss
