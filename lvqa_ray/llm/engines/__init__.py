"""Inference engines of models that a run serves itself: settings, server commands, faults in their logs."""
