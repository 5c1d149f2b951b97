"""What every other room uses: errors, whole-or-nothing files, logs, the machine."""
