"""Cardflow's core: what the workflows, the activities and the two doors share."""
