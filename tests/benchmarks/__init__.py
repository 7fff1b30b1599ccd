"""The benchmarks themselves: their scripts run, and their table says what it should."""
