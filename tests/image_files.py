"""Images as the bytes of their files."""

import io


def encoded(image, image_format="PNG", **options) -> bytes:
    """Return what PIL writes for an image."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()
