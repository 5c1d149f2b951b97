"""From files to a packed dataset: downloads, folder layouts, image formats, the phantom, HDF5."""
