"""Cardflow's way to Temporal: encrypted payloads, one way to connect, the server of the demo."""
