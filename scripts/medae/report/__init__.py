"""From numbers to what a reader sees: tables, figures, contact sheets, the gallery."""
