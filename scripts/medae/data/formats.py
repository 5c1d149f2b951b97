"""The image formats that are read, and the endings of their files.

Only decoders that notice a truncated file. JPEG 2000 is not among them: a file cut after its header
gives a grey image without an error.
"""

FORMATS = {  # Pillow's name: endings
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "PPM": (".pgm", ".ppm"),
}
SUFFIXES = frozenset(ending for endings in FORMATS.values() for ending in endings)
