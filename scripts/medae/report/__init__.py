"""From numbers to what a reader sees: tables, figures, contact sheets, the gallery.

What scripts of this stage have in common: `names` and `methods` map the keys of datasets and of
methods to display names, in the order shown; `settings` has a method, a latent_dim (0 without one)
and more of each setting, and lists of files beside it are parallel to it; `dataset_notes` are
sentences on datasets, shown with their numbers. Tables appear as Markdown, as an HTML page, some as
LaTeX, and as a TSV of unrounded numbers, in percent and percentage points.
"""
