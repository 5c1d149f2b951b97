"""The baseline of the benchmark: the usual way to write this, one image at a time.

Training: PIL images in memory, each turned into a normalised tensor again in every epoch, a
DataLoader without workers, float32, default Adam, the loss fetched after every batch. Scoring:
batches of one image. Packing: one image after the other into a list. Pixel metrics: scikit-learn,
and Dice at 200 thresholds. The network is the same. Each function prepares, yields, does what is
timed, and yields the number of items.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

BATCH = 64


class Images(Dataset):
    def __init__(self, pixels):
        self.images = [Image.fromarray(one[0]) for one in pixels]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        tensor = torch.from_numpy(np.array(self.images[index], dtype=np.float32))[None] / 255
        return (tensor - 0.5) / 0.5


def train(pixels, *, build, epochs, device):
    model = build().to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(Images(pixels), batch_size=BATCH, shuffle=True)

    def epoch():
        for batch in loader:
            batch = batch.to(device)
            loss = F.mse_loss(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    epoch()
    yield
    for _ in range(epochs):
        epoch()
    yield epochs * len(pixels)


def score(pixels, *, build, device):
    model = build().to(device).eval()
    loader = DataLoader(Images(pixels), batch_size=1)
    yield
    with torch.no_grad():
        for image in loader:
            image = image.to(device)
            error = (model(image) - image) ** 2
            error.mean().item(), error.cpu().numpy()
    yield len(pixels)


def pack(folder, *, image_size):
    files = sorted(Path(folder).rglob("*.png"))
    yield
    images = []
    for path in files:
        image = Image.open(path).convert("L").resize((image_size, image_size), Image.BILINEAR)
        images.append(np.array(image))
    np.save(Path(folder).with_suffix(".npy"), np.stack(images))
    yield len(files)


def rank_pixels(masks, maps):
    yield
    truth, values = masks.ravel(), maps.ravel()
    roc_auc_score(truth, values), average_precision_score(truth, values)
    for threshold in np.linspace(values.min(), values.max(), 200):
        called = values > threshold
        2 * (called & (truth == 1)).sum() / (called.sum() + truth.sum())
    yield truth.size
