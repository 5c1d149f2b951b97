"""What every other stage uses: errors, whole-or-nothing files, logs, the machine."""
