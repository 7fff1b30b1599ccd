"""Cardflow's core: what the workflows, the activities and the two doors share."""

from cardflow.collector import collect_seldom

collect_seldom()
